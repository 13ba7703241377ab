"""stub until merged."""


class GrammarState: ...


class Grammars: ...
