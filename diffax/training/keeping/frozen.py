"""Parts that a run uses and does not train: kept by where they came from and a fingerprint.

Data count among them where their fingerprint is at hand.
"""

from __future__ import annotations

Reference = dict[str, str]
"""{"source": where a frozen part came from, "fingerprint": what it held}."""

_DATA = "data: "  # how the source of data begins


def data_reference(data: object, fingerprint: str) -> Reference:
    """Of a recipe's data with the fingerprint of what they hold."""
    return {"source": f"{_DATA}{data}", "fingerprint": fingerprint}


def check_frozen(saved: list[Reference], current: list[Reference]) -> None:
    """Refuses to continue a run whose frozen parts are others now.

    Data are compared where both sides name the same: sampling does not look at them, older runs did
    not keep them, and other ones are another config.

    Args:
        saved: what the checkpoint's record says under "frozen".
        current: the same, of what was loaded now.

    Raises:
        ValueError: they differ; names the first part that does.
    """
    if _data(saved) != _data(current):
        saved, current = (
            [reference for reference in side if not _is_data(reference)]
            for side in (saved, current)
        )
    if len(saved) != len(current):
        raise ValueError(
            f"the run was begun with {len(saved)} frozen parts ({_sources(saved)}), there are "
            f"{len(current)} now ({_sources(current)}); continue with those it was begun with, or "
            "use another --workdir"
        )
    for before, now in zip(saved, current, strict=True):
        # The place may move, what is in it may not change.
        if before["fingerprint"] == now["fingerprint"]:
            continue
        if _is_data(now):
            raise ValueError(
                f"the run was begun with other data than there are now in {now['source']} "
                f"(fingerprints {before['fingerprint'][:12]} and {now['fingerprint'][:12]}); give "
                "those back, or use another --workdir, with --init-from to start from its weights"
            )
        raise ValueError(
            f"the frozen part {now['source']} (fingerprint {now['fingerprint'][:12]}) is not "
            f"the one that the run was begun with: {before['source']} "
            f"({before['fingerprint'][:12]}); give that one, or use another --workdir"
        )


def _is_data(reference: Reference) -> bool:
    return reference["source"].startswith(_DATA)


def _data(references: list[Reference]) -> list[str]:
    return [reference["source"] for reference in references if _is_data(reference)]


def _sources(references: list[Reference]) -> str:
    return ", ".join(reference["source"] for reference in references) or "none"
