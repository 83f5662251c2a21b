"""Labelling by a rule against labelling at random, on a tiny run."""

from benchmarks.label_next import RULES, main


def test_every_rule_is_measured_on_both_pools(tiny, from_pretrained, capsys):
    folder = from_pretrained(tiny())
    folder.write_config(tiny())
    assert main(["--run", str(folder.path), "--way", "3", "--draws", "2", "--steps", "1"]) == 0
    table = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[1] for row in table] == [*RULES, *RULES]
    assert all(0 <= float(row[2]) <= 100 for row in table)
