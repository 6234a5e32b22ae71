"""Pictures and captions to unit vectors: what an encoder is, and every model that open_clip loads.

The only place that imports open_clip. Importing it takes seconds, so stages import it inside their tasks.
"""

from coreset.encoder.choice import Choice, Encoder, Weights, as_array, captions_at_once, drop, fit_of
from coreset.encoder.found import found_weights, resolved_device, resolved_precision
from coreset.encoder.loading import loaded_encoder
from coreset.encoder.memory import memory_said
from coreset.encoder.own import is_own, own_weights

__all__ = [
    "Choice",
    "Encoder",
    "Weights",
    "as_array",
    "captions_at_once",
    "drop",
    "fit_of",
    "found_weights",
    "is_own",
    "loaded_encoder",
    "memory_said",
    "own_weights",
    "resolved_device",
    "resolved_precision",
]
