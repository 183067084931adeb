"""From a model's section in the configuration to a model that answers.

`workshop` is what every model is loaded with, `materials` what is there before memory is taken: files,
hashes, a graph, and the choices between precisions and lengths. `engine` opens sessions over it and warms
them up. `recipes` says what is particular about each kind of model, and `loader` goes through the steps.
"""

from services.inference.loading.loader import ModelLoader, PreparedModel
from services.inference.loading.recipes import embedding_recipe, nli_recipe, reranking_recipe
from services.inference.loading.workshop import Workshop

__all__ = [
    "ModelLoader",
    "PreparedModel",
    "Workshop",
    "embedding_recipe",
    "nli_recipe",
    "reranking_recipe",
]
