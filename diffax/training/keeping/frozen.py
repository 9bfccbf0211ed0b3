"""Parts that a run uses and does not train: kept by where they came from and a fingerprint."""

from __future__ import annotations

Reference = dict[str, str]
"""{"source": where a frozen part came from, "fingerprint": what it held}."""


def check_frozen(saved: list[Reference], current: list[Reference]) -> None:
    """Refuses to continue a run whose frozen parts are others now.

    Args:
        saved: what the checkpoint's record says under "frozen".
        current: the same, of what was loaded now.

    Raises:
        ValueError: they differ; names the first part that does.
    """
    if len(saved) != len(current):
        raise ValueError(
            f"the run was begun with {len(saved)} frozen parts ({_sources(saved)}), there are "
            f"{len(current)} now ({_sources(current)}); continue with those it was begun with, or "
            "use another --workdir"
        )
    for before, now in zip(saved, current, strict=True):
        # The place may move, what is in it may not change.
        if before["fingerprint"] != now["fingerprint"]:
            raise ValueError(
                f"the frozen part {now['source']} (fingerprint {now['fingerprint'][:12]}) is not "
                f"the one that the run was begun with: {before['source']} "
                f"({before['fingerprint'][:12]}); give that one, or use another --workdir"
            )


def _sources(references: list[Reference]) -> str:
    return ", ".join(reference["source"] for reference in references) or "none"
