"""Two kinds of evidence to one score."""


def mix(cosine: float, coverage: float, lexical_weight: float) -> float:
    """A weighted mean of nearness in meaning and of the share of the question's words found.

    Both are absolute (they don't depend on what else was found), so the mean can be compared with a
    threshold; ranks and BM25 scores, which are only good within one question, choose the candidates alone.
    """
    return (1.0 - lexical_weight) * cosine + lexical_weight * coverage
