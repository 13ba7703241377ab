"""An LSTM language model of torch's cells, token by token: no library publishes one."""

import json
from types import SimpleNamespace

import torch
from safetensors.torch import load_file, save_file
from torch import nn


class LstmForCausalLM(nn.Module):
    def __init__(self, said):
        super().__init__()
        self.said = said
        self.config = SimpleNamespace(model_type="lstm", is_encoder_decoder=False)
        width, size = said["hidden_size"], said["vocab_size"]
        self.embedding = nn.Embedding(size, width)
        self.layers = nn.ModuleList(nn.LSTMCell(width, width) for _ in range(said["num_hidden_layers"]))
        self.head = nn.Linear(width, size)

    @classmethod
    def from_pretrained(cls, folder, **_):
        model = cls(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        model.load_state_dict(load_file(folder / "model.safetensors"))
        return model

    def save_pretrained(self, folder):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(self.said), encoding="utf-8")
        save_file(self.state_dict(), folder / "model.safetensors")

    def forward(self, input_ids):
        x = self.embedding(input_ids[0])
        for cell in self.layers:
            state, said = None, []
            for row in x:
                state = cell(row, state)
                said.append(state[0])
            x = torch.stack(said)
        return Said(logits=self.head(x)[None])


class Said(dict):
    """An output whose fields are attributes, as those of transformers are."""

    def __getattr__(self, name):
        return self[name]
