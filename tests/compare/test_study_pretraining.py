"""A comparison whose arms differ in pretraining: each has its own, scored on base and novel classes."""

import pytest
from small_comparison import answered, mistake, small_comparison

from mtl.compare.jobs import arm_run
from mtl.compare.study import compare
from mtl.compare.table import to_dict
from mtl.config import read_config
from mtl.config import to_dict as config_tree
from mtl.errors import UserError
from mtl.evaluation.base_classes import base_accuracy
from mtl.runtime import checkpoints
from mtl.runtime.devices import choose_device
from mtl.training.restore import pretrained_network
from mtl.training.run_data import load_run_data

GROUPS = [f"base classes, {size} images" for size in ("many", "medium", "few")]
ARMS = [
    {"name": "plain"},
    {"name": "balanced", "change": ["pretrain.balance.by=sampling", "pretrain.balance.weighting=inverse"]},
]


@pytest.fixture
def study(image_root, tmp_path):
    """Makes configs of it: `study(arms=[...])` lays keys over the section `compare`."""

    def make(**compared):
        return small_comparison(
            image_root,
            tmp_path,
            data={"probe_fraction": 0.25, "imbalance": {"type": "exponential", "factor": 5}},
            meta={"queries": 2},
            compare={
                "stage": "pretrain",
                "arms": ARMS,
                "judged_tasks": 0,
                "longer": False,
                "reference": "plain",
                **compared,
            },
        )

    return make


def test_arms_are_scored_on_novel_and_base_classes_and_a_resumed_comparison_says_the_same(study, tmp_path):
    config = study()
    found = compare(config)
    assert list(found.settings) == ["3-way 1-shot", "3-way 2-shot", "base classes", *GROUPS]
    assert all([r.arm for r in results] == ["plain", "balanced"] for results in found.settings.values())
    assert found.seeds == (7, 8)
    assert (tmp_path / "study" / "comparison.md").read_text().count("| balanced |") == 6

    run_data, device = load_run_data(config), choose_device(config.runtime)
    for cell in answered(tmp_path / "study"):
        arm = config.compare.arm(cell.arm)
        one = arm_run(config, arm, cell.seed)
        payload = checkpoints.read(tmp_path / "study" / f"seed-{cell.seed}" / arm.name / "pretrain.pt")
        network = pretrained_network(payload, one, run_data.splits.train)
        base = base_accuracy(network, run_data, device)
        assert float(cell.answers["base classes"].accuracy.mean()) == pytest.approx(base.balanced)
        for name, accuracy in base.groups.items():
            mean = float(cell.answers[f"base classes, {name} images"].accuracy.mean())
            assert mean == pytest.approx(accuracy)
        assert [step for step, _ in cell.curve] == sorted({step for step, _ in cell.curve})
        assert payload["config"]["pretrain"]["balance"]["by"] == (
            "sampling" if arm.name == "balanced" else "none"
        )

    # It goes on where it stopped, and trains nothing twice.
    home = tmp_path / "study" / "seed-8" / "balanced"
    (home / "answers.pt").unlink()
    before = (home / "pretrain.pt").stat().st_mtime_ns
    again = compare(config, resume=True)
    assert (home / "pretrain.pt").stat().st_mtime_ns == before
    assert to_dict(again) == to_dict(found)


def test_trials_are_chosen_by_validation_tasks(study, tmp_path):
    trials = [["pretrain.lr=1e-9"], ["pretrain.lr=0.1"]]
    compare(study(arms=[{**arm, "trials": trials} for arm in ARMS], seeds=1))
    written = (tmp_path / "study" / "trials.json").read_text()
    scores = {}
    for arm in ("plain", "balanced"):
        folders = [tmp_path / "study" / "trials" / f"seed-{seed}" / arm for seed in (8, 9)]
        scores[arm] = [
            sum(checkpoints.read(folder / str(i) / "pretrain.pt")["mean"] for folder in folders) / 2
            for i in range(2)
        ]
        best = trials[scores[arm].index(max(scores[arm]))][0]
        assert f'"chosen": [\n   "{best}"' in written


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("meta.lr=1", r"meta.lr=1: an arm may change keys of pretrain and data.augment alone"),
        ("pretrain.epochs=3", "odd makes 3 epochs in batches of 48 images, plain 2 in batches of 48"),
    ],
)
def test_an_arm_that_is_not_alike_is_refused(study, change, words):
    arms = [{"name": "plain"}, {"name": "odd", "change": [change]}]
    assert words in mistake(study(arms=arms))


def test_no_backbone_is_left_to_judge_or_to_pretrain_longer(study):
    tree = config_tree(study())
    tree["compare"]["judged_tasks"] = 5
    with pytest.raises(UserError, match=r"compare\.judged_tasks: 0 and compare\.longer: false"):
        read_config(tree, "here")


def test_other_sets_are_no_part_of_a_comparison(study):
    tree = config_tree(study())
    tree["evaluate"]["sets"] = ["glyphs"]
    assert mistake(read_config(tree, "here")).startswith("evaluate.sets: a comparison scores")
