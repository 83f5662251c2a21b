"""What tells one image set from another, so that a number that stands for an image is never read wrongly."""

import hashlib

from mtl.data.image_set import ImageSet

_LOOKED_AT = 1024  # images: reading millions of them would take as long as minutes of training


def fingerprint(images: ImageSet) -> str:
    """16 hex digits; the same for the same classes, labels, groups, shape and pixels, wherever the files lie.

    Of more than 1,024 images the pixels of about as many, spread evenly, are looked at. An image more or
    less changes the labels; another size, split or rendering changes all pixels; but of many images a few
    that were changed or exchanged within their class may go unseen.
    """
    digest = hashlib.blake2b(digest_size=8)
    digest.update(repr((tuple(images.images.shape), images.class_names)).encode("utf-8", "surrogatepass"))
    digest.update(images.labels.numpy().tobytes())
    if images.image_groups:  # episodes differ with them
        digest.update(repr(images.image_groups).encode("utf-8", "surrogatepass"))
    for i in range(0, len(images), max(1, -(-len(images) // _LOOKED_AT))):
        digest.update(images.images[i].contiguous().numpy().tobytes())
    return digest.hexdigest()
