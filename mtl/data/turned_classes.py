"""Classes turned by right angles as further classes (`data.rotations`)."""

import torch

from mtl.data.image_set import ImageSet


def with_turned_classes(images: ImageSet) -> ImageSet:
    """Each class, and the same turned by 90, 180 and 270 degrees as further classes `<name>@<degrees>`.

    As Santoro et al. (ICML 2016) and all users of Vinyals' split of Omniglot; for photographs as in the
    task-level augmentation of Liu et al. (2020). All four copies are in memory.
    """
    turned = sorted(
        (f"{name}@{90 * k}" if k else name, k, c)
        for k in range(4)
        for c, name in enumerate(images.class_names)
    )
    rows = [(images.labels == c).nonzero().flatten() for c in range(images.num_classes)]
    pictures = [torch.rot90(images.images[rows[c]], k, (2, 3)) for _, k, c in turned]
    origin = torch.cat([rows[c] for _, _, c in turned]).tolist()
    return ImageSet(
        torch.cat(pictures),
        torch.arange(len(turned)).repeat_interleave(torch.tensor([len(p) for p in pictures])),
        tuple(name for name, _, _ in turned),
        None if images.groups is None else tuple(images.groups[c] for _, _, c in turned),
        tuple(images.files[i] for i in origin) if images.files else (),
        None if images.domains is None else tuple(images.domains[c] for _, _, c in turned),
        tuple(images.image_groups[i] for i in origin) if images.image_groups else (),
    )
