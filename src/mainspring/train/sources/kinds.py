"""The kinds of sources that a recipe may name."""

from typing import Annotated

from pydantic import Field

from mainspring.train.sources.chats import Chats
from mainspring.train.sources.judged import JudgedAnswers
from mainspring.train.sources.mixed import Mixed
from mainspring.train.sources.pairs import Pairs
from mainspring.train.sources.prompts import PromptRecords
from mainspring.train.sources.rows import Rows
from mainspring.train.sources.shards import Documents, Windows
from mainspring.train.sources.texts import Labelled, Ranked, Tagged, Triples

Texts = Labelled | Tagged | Triples | Ranked
ItemSourceKind = Annotated[
    Chats | Pairs | JudgedAnswers | Documents | Windows | Mixed | Texts, Field(discriminator="kind")
]
SourceKind = Annotated[
    Chats | Pairs | JudgedAnswers | PromptRecords | Documents | Windows | Mixed | Texts | Rows,
    Field(discriminator="kind"),
]
