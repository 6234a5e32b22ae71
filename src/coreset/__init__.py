"""Select a small, informative training set from image-text pairs: exact, repeatable, nothing lost.

The pipeline, one module a stage; each reads what the one before wrote:

```
sources ─ embed or import ─> rows/ ─ cluster ─> centroids/ clusters/ ─ dedup ─> dedup/ ─ sample ─> coreset/
```

- `coreset.recipe`: what to select from and how; `coreset.pipeline`: the order of the stages
- `coreset.embed`, `coreset.import_`, `coreset.cluster`, `coreset.dedup`, `coreset.sample`: the stages
- `coreset.rows`: the columns of every file; `coreset.encoder`: models; `coreset.sources`: foreign bytes
- `coreset.results`: a finished run read, checked, exported, trained on; `coreset.mixture`: data for fine-tuning
- `coreset.numeric`: similarity, components, centroids, ranks; `coreset.engine`: tasks, files, resuming

The names below load what they need when they are first used, so that `import coreset` is quick.

Example:
    >>> import coreset
    >>> recipe = coreset.read_recipe(coreset.DEMO_RECIPE)
    >>> recipe.dedup.threshold
    0.86
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coreset.account import Step, funnel, quarantined
    from coreset.cluster import ClusterParams
    from coreset.dedup import DedupParams
    from coreset.demo import RECIPE as DEMO_RECIPE
    from coreset.embed import EmbedParams
    from coreset.encoder import Encoder
    from coreset.engine.errors import CoresetError
    from coreset.engine.local import in_process, on_processes
    from coreset.engine.stage import Parts
    from coreset.import_ import ImportParams
    from coreset.pipeline import Run, clustered, deduplicated, embedded, imported, sampled, selected
    from coreset.recipe import Recipe, parsed_recipe, read_recipe
    from coreset.results.chains.chains import chains
    from coreset.results.chains.missed import missed
    from coreset.results.chains.misses import Estimated, Missed
    from coreset.results.chains.stretched import Chains, Level, StretchedComponent
    from coreset.results.explain.explain import Explained
    from coreset.results.export.exporting import export
    from coreset.results.fate import ScoreWindow, picture_bytes, rows_with_fate
    from coreset.results.in_place.in_place import Filter, filter  # noqa: A004  read as coreset.filter
    from coreset.results.in_place.picture_dataset import PictureDataset, Sampler
    from coreset.results.inspect.inspect import Inspected, inspect
    from coreset.results.opened import OpenedRun, open_run
    from coreset.results.report.report import Report, report
    from coreset.results.sweep import Sweep, sweep
    from coreset.results.verify.verdict import Verified
    from coreset.results.verify.verify import verify
    from coreset.sample import SampleParams

__all__ = [
    "DEMO_RECIPE",
    "Chains",
    "ClusterParams",
    "CoresetError",
    "DedupParams",
    "EmbedParams",
    "Encoder",
    "Estimated",
    "Explained",
    "Filter",
    "ImportParams",
    "Inspected",
    "Level",
    "Missed",
    "OpenedRun",
    "Parts",
    "PictureDataset",
    "Recipe",
    "Report",
    "Run",
    "SampleParams",
    "Sampler",
    "ScoreWindow",
    "Step",
    "StretchedComponent",
    "Sweep",
    "Verified",
    "chains",
    "clustered",
    "deduplicated",
    "embedded",
    "export",
    "filter",
    "funnel",
    "imported",
    "in_process",
    "inspect",
    "missed",
    "on_processes",
    "open_run",
    "parsed_recipe",
    "picture_bytes",
    "quarantined",
    "read_recipe",
    "report",
    "rows_with_fate",
    "sampled",
    "selected",
    "sweep",
    "verify",
]

_HOMES = {
    "coreset.account": ("Step", "funnel", "quarantined"),
    "coreset.cluster": ("ClusterParams",),
    "coreset.dedup": ("DedupParams",),
    "coreset.embed": ("EmbedParams",),
    "coreset.encoder": ("Encoder",),
    "coreset.engine.errors": ("CoresetError",),
    "coreset.engine.local": ("in_process", "on_processes"),
    "coreset.engine.stage": ("Parts",),
    "coreset.import_": ("ImportParams",),
    "coreset.pipeline": ("Run", "clustered", "deduplicated", "embedded", "imported", "sampled", "selected"),
    "coreset.recipe": ("Recipe", "parsed_recipe", "read_recipe"),
    "coreset.results.explain.explain": ("Explained",),
    "coreset.results.export.exporting": ("export",),
    "coreset.results.chains.stretched": ("StretchedComponent", "Chains", "Level"),
    "coreset.results.chains.chains": ("chains",),
    "coreset.results.fate": ("ScoreWindow", "picture_bytes", "rows_with_fate"),
    "coreset.results.in_place.in_place": ("Filter", "filter"),
    "coreset.results.inspect.inspect": ("Inspected", "inspect"),
    "coreset.results.chains.missed": ("missed",),
    "coreset.results.chains.misses": ("Estimated", "Missed"),
    "coreset.results.opened": ("OpenedRun", "open_run"),
    "coreset.results.report.report": ("Report", "report"),
    "coreset.results.in_place.picture_dataset": ("PictureDataset", "Sampler"),
    "coreset.results.sweep": ("Sweep", "sweep"),
    "coreset.results.verify.verdict": ("Verified",),
    "coreset.results.verify.verify": ("verify",),
    "coreset.sample": ("SampleParams",),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  any public name
    if name == "DEMO_RECIPE":
        return importlib.import_module("coreset.demo").RECIPE
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'coreset' has no attribute {name!r}")
