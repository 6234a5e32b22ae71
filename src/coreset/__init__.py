"""Select a small, informative training set from image-text pairs: exact, repeatable, nothing lost.

The pipeline, one module a stage; each reads what the one before wrote:

```
sources ─ embed or import ─> rows/ ─ cluster ─> centroids/ clusters/ ─ dedup ─> dedup/ ─ sample ─> coreset/
```

- `coreset.recipe`: what to select from and how; `coreset.pipeline`: the order of the stages
- `coreset.embed`, `coreset.import_`, `coreset.cluster`, `coreset.dedup`, `coreset.sample`: the stages
- `coreset.rows`: the columns of every file; `coreset.encoder`: models; `coreset.sources`: foreign bytes
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
    from coreset.results.explain import Explained
    from coreset.results.fate import picture_bytes, rows_with_fate
    from coreset.results.inspect import Inspected, inspect
    from coreset.results.opened import OpenedRun, open_run
    from coreset.results.report import Report, report
    from coreset.results.verdict import Verified
    from coreset.results.verify import verify
    from coreset.sample import SampleParams

__all__ = [
    "DEMO_RECIPE",
    "ClusterParams",
    "CoresetError",
    "DedupParams",
    "EmbedParams",
    "Encoder",
    "Explained",
    "ImportParams",
    "Inspected",
    "OpenedRun",
    "Parts",
    "Recipe",
    "Report",
    "Run",
    "SampleParams",
    "Step",
    "Verified",
    "clustered",
    "deduplicated",
    "embedded",
    "funnel",
    "imported",
    "in_process",
    "inspect",
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
    "coreset.results.explain": ("Explained",),
    "coreset.results.fate": ("picture_bytes", "rows_with_fate"),
    "coreset.results.inspect": ("Inspected", "inspect"),
    "coreset.results.opened": ("OpenedRun", "open_run"),
    "coreset.results.report": ("Report", "report"),
    "coreset.results.verdict": ("Verified",),
    "coreset.results.verify": ("verify",),
    "coreset.sample": ("SampleParams",),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  any public name
    if name == "DEMO_RECIPE":
        return importlib.import_module("coreset.demo").RECIPE
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'coreset' has no attribute {name!r}")
