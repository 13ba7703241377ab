"""Runs of test_parallel.py in processes of their own; see `main`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from fakes_llama import tiny_llama
from fakes_tokenizer import ByteTokenizer, conversations
from mainspring.config import build
from mainspring.models.model import Model
from mainspring.train.config import TrainConfig
from mainspring.train.loop import train
from mainspring.train.objectives.sft import Sft
from mainspring.train.sources.chats import ChatSource

ANSWERS = ("red", "green is it", "blue", "a longer answer than the others", "no", "yes, and why not", "or", "and")
