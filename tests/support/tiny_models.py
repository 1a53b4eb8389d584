"""Models of one small layer with random weights, for all but their quality."""

import shutil
from pathlib import Path

from keydistill.encoders import find_model


def make_tiny_student(folder: Path, seed: int = 0, *, width: int = 32, heads: int = 2, layers: int = 1) -> Path:
    """A student of `width` dimensions with the base's tokenizer, in the folder `folder`."""
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    shutil.copytree(find_model("sentence-transformers/all-MiniLM-L6-v2"), folder)
    config = BertConfig(
        hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers, num_attention_heads=heads
    )
    BertModel(config).save_pretrained(folder)
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text(pooling.read_text().replace("384", str(width)))
    assert SentenceTransformer(str(folder)).get_embedding_dimension() == width
    return folder


def make_tiny_static_student(folder: Path, base: Path) -> Path:
    """A student that reads items as the one in `base` does and keyphrases with a table of chance."""
    import torch
    from sentence_transformers import SentenceTransformer

    from keydistill.distillation.student.towers import with_table

    model = SentenceTransformer(str(base), device="cpu")
    table = torch.randn(30_522, 32, generator=torch.Generator().manual_seed(0))
    with_table(model, table).save_pretrained(str(folder), create_model_card=False)
    return folder
