"""Heads of published networks, and fine-tuning, on a small folder."""

import torch
from own_folders import lay_out

from benchmarks.own_heads import COMPARED, main
from mtl.config import Backbone
from mtl.models.backbones import build_backbone
from mtl.own_images import fine_tune
from mtl.runtime.seeds import generator

NAME = "torchvision.squeezenet1_1"


def test_heads_and_fine_tuning_are_compared_draw_by_draw(image_root, tmp_path, monkeypatch, capsys):
    lay_out(image_root, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fine_tune, "_EPOCHS", 1)
    monkeypatch.setattr(fine_tune, "_COPIES", 1)
    monkeypatch.setattr(fine_tune, "LEAST", 2)
    torch.save(build_backbone(Backbone(NAME), 3, 224, generator(3)).network.state_dict(), "squeeze.pth")
    options = ["--backbone", NAME, "--weights", "squeeze.pth", "--threads", "1", "--fine-tune"]
    assert main(["things", *options, "--way", "2", "--shot", "2", "--draws", "2"]) == 0
    table = [line.strip("| \n").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in table[: len(COMPARED)]] == list(COMPARED)
    assert [row[0] for row in table[len(COMPARED) :]] == [
        "chosen head",
        "chosen head, fine-tuned",
        "the same, unless left-out pictures show a loss",
        "seconds",
    ]
    assert all(0 <= float(row[1]) <= 100 for row in table[:-1])
