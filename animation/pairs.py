"""Which pairs are animated."""

from __future__ import annotations

from tqdm import tqdm

from frames_dataset import ClipFolder, DataError, Pair, random_pairs, read_pairs


def find_pairs(config: dict, clips: ClipFolder) -> list[Pair]:
    """The config's pairs list, or random pairs; at most ``animate_params.num_pairs``, which is said."""
    limit, listed = config["animate_params"]["num_pairs"], config["dataset_params"].get("pairs_list")
    if not listed:
        return random_pairs(clips.names, limit)
    pairs = read_pairs(listed, clips.names)
    if len(pairs) > limit:
        tqdm.write(f"{listed} lists {len(pairs)} pairs; animate_params.num_pairs: {limit} takes the first {limit}")
    return pairs[:limit]


def check_names(pairs: list[Pair]) -> None:
    """Refuse different pairs whose results would have one name, so that one would stand for both.

    Raises:
        DataError: the same clips with different reference frames, or names that differ in where a hyphen is.
    """
    seen: dict[str, Pair] = {}
    for pair in pairs:
        other = seen.setdefault(pair.name, pair)
        if other != pair:
            first, second = (f"({p.driving}, {p.source}, frame {p.reference})" for p in (other, pair))
            raise DataError(
                f"the results of two pairs (driving, source, frame) would both be called {pair.name!r}: {first} and "
                f"{second}. Give each a pairs list and an --out of its own, or rename a clip"
            )
