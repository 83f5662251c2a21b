"""The image sets by name: which module loads each, and what is known of its files."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """Where an image set comes from."""

    module: str  # in mtl/data/sources, with `load(config, seed) -> Splits`
    grey: bool = False  # always stored with one channel: less to decode and to store
    file_sides: tuple[int, ...] | None = None  # of light ink on black: sides of its square files; else None


SOURCES = {
    "glyphs": Source("glyphs", grey=True, file_sides=()),  # rendered: no files
    "omniglot": Source("omniglot", grey=True, file_sides=(105,)),
    "cifar_fs": Source("cifar"),
    "fc100": Source("cifar"),
    "mini_imagenet": Source("mini_imagenet"),
    "tiered_imagenet": Source("mini_imagenet"),
    "image_folder": Source("image_folder"),
    "several": Source("multi_dataset"),
}
