"""A small language model: perplexity instead of accuracy, energy per token instead of per sample."""

from __future__ import annotations

import lightning as L
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from lightning_energy import EnergyCallback

VOCABULARY, LENGTH = 32, 16


class GPT(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
        self.blocks = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(16, VOCABULARY)

    def loss(self, batch):
        ids = batch["input_ids"]
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1] - 1)
        logits = self.head(self.blocks(self.embed(ids[:, :-1]), mask=mask, is_causal=True))
        return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    def training_step(self, batch, batch_idx):
        return self.loss(batch)

    def validation_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.log("val/loss", loss, batch_size=len(batch["input_ids"]))
        self.log("val/ppl", loss.exp(), batch_size=len(batch["input_ids"]))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


def texts(n):
    start = torch.randint(VOCABULARY, (n, 1))
    ids = (start + torch.arange(LENGTH)) % VOCABULARY
    return [{"input_ids": row, "attention_mask": torch.ones(LENGTH)} for row in ids]


def tokens(batch):
    return int(batch["attention_mask"].sum())


if __name__ == "__main__":
    L.seed_everything(0)
    energy = EnergyCallback(metric="val/ppl", mode="min", per={"tokens": tokens})
    trainer = L.Trainer(max_epochs=2, accelerator="cpu", callbacks=[energy], enable_checkpointing=False)
    trainer.fit(GPT(), DataLoader(texts(80), batch_size=8), DataLoader(texts(16), batch_size=8))
