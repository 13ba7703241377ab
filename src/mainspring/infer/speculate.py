"""stub until merged."""


class Pace:
    def limit(self, cost=0.0):
        return 8

    def note(self, proposed, accepted): ...


class NGram:
    def propose(self, ids, limit):
        for size in (3, 2):
            if len(ids) > size:
                tail = list(ids[-size:])
                for start in range(len(ids) - size - 1, -1, -1):
                    if list(ids[start : start + size]) == tail:
                        return list(ids[start + size : start + size + limit])
        return []
