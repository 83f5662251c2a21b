"""Evaluation: N-way K-shot accuracy on classes that no training has seen.

    python run_meta.py evaluate --config configs/omniglot.yaml evaluate.settings='[[20,1],[20,5]]'

Scores the checkpoint that validation chose, and baselines beside it, on the same fixed tasks. Writes
results.json, and the tasks and what became of the worst of them into hard_tasks.sqlite.
"""

from mtl.config import Config
from mtl.hard_tasks.ledger import Ledger
from mtl.runtime import checkpoints
from mtl.runtime.devices import choose_device
from mtl.runtime.run_folder import RunFolder
from mtl.stages.contenders import contenders
from mtl.stages.material import Material, load_material
from mtl.stages.recording import register_classes
from mtl.stages.resample import resample_worst
from mtl.stages.results import Setting, score, write_results
from mtl.stages.trained import read_pretrained


def evaluate(config: Config, material: Material | None = None) -> list[Setting]:
    """Scores every setting of `evaluate.settings`.

    Args:
        config: of the run. Without a meta.pt in its folder the pretrained backbone is scored alone.
        material: the image set, where the caller has it already.

    Raises:
        UserError: nothing is pretrained, checkpoints do not fit the config, or a split is too small.
    """
    folder, how = RunFolder.of(config), config.evaluate
    device = choose_device(config.runtime)
    pretrained = read_pretrained(folder, config)
    meta = None
    if folder.meta.exists():
        meta = checkpoints.read(folder.meta)
        checkpoints.require_fit(folder.meta, meta, config, ("data", "backbone", "meta"))
    material = material or load_material(config)
    images = material.split(how.split)
    against = contenders(config, material, device, pretrained, meta)
    found = []
    with Ledger.open(folder.ledger) as ledger:
        register_classes(ledger, how.split, images)
        for way, shot in how.settings:
            episodes = material.fixed_episodes(
                how.split, way, shot, how.queries, how.tasks, config.seed, "evaluate", how.within_group
            )
            outcomes = [c.solve(episodes) for c in against]
            first = outcomes[0]
            scores = [
                score(c.name, episodes, o, None if o is first else first, images.class_names)
                for c, o in zip(against, outcomes, strict=True)
            ]
            phase = f"evaluate {how.split} {way}-way {shot}-shot"
            ledger.clear(phase)
            ledger.append(phase, 0, 0, episodes, first, how.split)
            again = resample_worst(
                against[0],
                episodes,
                first,
                material.index(how.split),
                how.resample,
                config.hard_tasks,
                config.seed,
                ledger,
                phase,
                how.split,
            )
            found.append(Setting(how.split, way, shot, how.queries, how.tasks, scores, again))
        ledger.commit(ledger.token() or "evaluate")
    write_results(folder.results, config.run, found)
    return found
