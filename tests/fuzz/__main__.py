"""`make fuzz`: a long campaign over our own sources and, where they lie beside us, those of others.

A module of this name is what a child process does not import again.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

from fuzz.campaign import campaign, our_sources, sources_of_others
from fuzz.mutate import mutated

from media_server.jobs.runner import prepare

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """1 if there was an outcome that none may have."""
    parser = argparse.ArgumentParser(description="Nearly right files through the jobs' own child processes.")
    parser.add_argument("--inputs", type=int, default=2000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--save", type=Path, help="a folder for the inputs with such an outcome")
    chosen = parser.parse_args()
    prepare()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        ours = our_sources(Path(name))
    corpus = Path(os.environ.get("MEDIA_CORPUS_DIR") or ROOT.parent / "shared" / "corpus")
    sources = [*ours, *sources_of_others(corpus)]
    print(f"{chosen.inputs} inputs from {len(sources)} sources, {len(ours)} of them ours", flush=True)
    found = asyncio.run(campaign(sources, range(chosen.first, chosen.first + chosen.inputs)))
    for outcome, count in found.outcomes.most_common():
        print(f"{count:6}  {outcome}")
    print(f"{chosen.inputs / found.took_s:.1f} inputs a second")
    for seed, outcome in found.unknown:
        print(f"seed {seed}: {outcome}")
        if chosen.save is not None:
            chosen.save.mkdir(parents=True, exist_ok=True)
            (chosen.save / f"{seed}.bin").write_bytes(mutated(sources, seed))
    return 1 if found.unknown else 0


if __name__ == "__main__":
    sys.exit(main())
