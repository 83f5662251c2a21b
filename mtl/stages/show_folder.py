"""What the command `data` says of a person's own images: what is left out, unreadable, or there twice."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from mtl.config import Data
from mtl.data import Splits
from mtl.data.account import Account, Duplicates, what_to_do
from mtl.data.image_groups import shared_names
from mtl.data.levels import told as told_of_levels

_NAMED = 8  # classes of a sentence
_LISTED = 20  # files below one
_PLACES = {"splits": "in two splits", "classes": "in two classes of a split", "class": "within a class"}


def findings(account: Account, data: Data) -> list[str]:
    """Lines for a person to read; none where there is nothing to say but that nothing is there twice."""
    lines = []
    if account.unnamed:
        lines.append(f"Left out, not named in data.classes: {_counted(account.unnamed)}.")
    if account.scarce:
        least = data.min_images
        few = "no images" if least == 1 else f"fewer than data.min_images = {least} images"
        names = sorted(account.scarce) if least == 1 else _with_counts(account.scarce)
        lines.append(f"Left out, with {few}: {_counted(names)}.")
    if account.capped:
        most = data.max_images or 0
        aside = sum(account.capped.values()) - most * len(account.capped)
        lines.append(
            f"More than data.max_images = {most} images: {_counted(_with_counts(account.capped))}; {aside:,} "
            "of them are left out."
        )
    if account.passed_over:
        head = f"Passed over: {len(account.passed_over):,} of the names in the folder."
        lines += [head, *_listed_with_reasons(account.passed_over)]
    lines += [*account.alike, *told_of_levels(account.levels, account.deep)]
    if account.unreadable:
        lines += _unreadable(account.unreadable, data)
    return lines + _duplicates(account.duplicates, data)


def group_lines(splits: Splits) -> list[str]:
    """What there is to say of the groups of images (data.group_by); nothing where there are none."""
    lines, of_class, split_of = list[str](), dict[str, list[str]](), dict[str, str]()
    for split, images in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        if (groups := images.group_ids()) is None:
            continue
        of_group = dict(zip(groups.tolist(), images.labels.tolist(), strict=True))
        counts = Counter(of_group.values())
        few, most = min(counts.values()), max(counts.values())
        line = f"Groups in {split}: {len(of_group):,}, {few} to {most} a class"
        if alone := images.image_groups.count(""):
            line += f"; of these, {_number(alone, 'image')} that data.group_by does not match"
        lines.append(f"{line}.")
        if single := [name for c, name in enumerate(images.class_names) if counts[c] == 1]:
            lines.append(f"  All images of one group, so that there is no episode: {_counted(single)}.")
        for name, label in zip(images.image_groups, images.labels.tolist(), strict=True):
            of_class.setdefault(images.class_names[label], []).append(name)
            split_of[images.class_names[label]] = split
    if not (shared := shared_names(of_class)):
        return lines
    crossing = sum(len({split_of[name] for name in classes}) > 1 for classes in shared.values())
    head = (
        f"In several classes: {_number(len(shared), 'group name')}, {crossing:,} of them in two splits. "
        "Where such a name is one clip or one animal, its pictures leak from class to class; if each class "
        "counts its groups anew, nothing is wrong."
    )
    named = [f"{name}: {', '.join(classes[:_NAMED])}" for name, classes in shared.items()]
    return [*lines, head, *_listed(named, len(shared))]


def _unreadable(files: Mapping[str, str], data: Data) -> list[str]:
    then = "left out" if data.unreadable == "skip" else "training ends with that (data.unreadable = refuse)"
    head = f"Unreadable: {_number(len(files), 'image')}; {then}."
    return [head, *_listed_with_reasons(files)]


def _duplicates(found: Duplicates | None, data: Data) -> list[str]:
    if found is None:
        return ["The same picture twice: not looked for (data.duplicates = keep)."]
    if not found.pairs:
        exact = " (to the pixel; nearly equal ones were not looked for)" if data.duplicates == "exact" else ""
        return [f"The same picture twice: none{exact}."]
    near = (
        "nearly equal ones not looked for" if data.duplicates == "exact" else f"{found.total(False):,} nearly"
    )
    kinds = f"{_number(found.total(True), 'pair')} the same, {near}"
    places = [f"{sum(count):,} {_PLACES[place]}" for place, count in found.counts.items() if sum(count)]
    if data.duplicates == "drop":
        then = f" {_number(found.left_out, 'image')} left out (data.duplicates = drop)."
    elif found.crossing:
        then = (
            f" Training ends with those that are not within a class (data.duplicates = {data.duplicates}). "
            f"{what_to_do(found)}."
        )
    else:
        then = ""
    pairs = [f"{p.one} {'=' if p.exact else '≈'} {p.other}" for p in found.pairs]
    total = found.total(True) + found.total(False)
    return [f"The same picture twice: {kinds}; {', '.join(places)}.{then}", *_listed(pairs, total)]


def _counted(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{_number(len(names), 'class')} ({', '.join(names[:_NAMED])}{more})"


def _with_counts(classes: Mapping[str, int]) -> list[str]:
    return [f"{name} {count:,}" for name, count in sorted(classes.items())]


def _listed_with_reasons(files: Mapping[str, str]) -> list[str]:
    return _listed([f"{file}: {why}" for file, why in files.items()], len(files))


def _listed(lines: Iterable[str], total: int) -> list[str]:
    shown = [f"  {line}" for line in list(lines)[:_LISTED]]
    return [*shown, f"  and {total - len(shown):,} more"] if total > len(shown) else shown


def _number(count: int, thing: str) -> str:
    many = f"{thing}{'es' if thing.endswith('s') else 's'}"
    return f"{count:,} {thing if count == 1 else many}"
