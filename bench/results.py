"""All samples of a run, and what went wrong. Pure; becomes results.json."""

import json


class Results:
    def __init__(self, facts=None):
        self.facts = facts or {}
        # {case: {contender: [one dict of figures for each round, None where it failed]}}
        self.samples = {}
        # {case: {contender: text}}: invalid figures, and what there is no counterpart for.
        self.faults = {}
        self.absent = {}

    def add(self, case, contender, sample):
        self.samples.setdefault(case, {}).setdefault(contender, []).append(sample)

    def fail(self, case, contender, text):
        """The figures of this contender for this case are invalid, the ones it has included."""
        self.faults.setdefault(case, {}).setdefault(contender, str(text))

    def lack(self, case, contender, text):
        """There is nothing to measure."""
        self.absent.setdefault(case, {})[contender] = str(text)

    def failed(self, case, contender):
        return contender in self.faults.get(case, {})

    def values(self, case, contender, figure):
        """One value a round; empty when there are none or they are invalid."""
        if self.failed(case, contender):
            return []
        samples = self.samples.get(case, {}).get(contender, [])
        return [sample[figure] for sample in samples if sample and figure in sample]

    def why_not(self, case, contender):
        """Why there is no figure."""
        for where in (self.faults, self.absent):
            if contender in where.get(case, {}):
                return where[case][contender]
        return "not measured"

    def to_json(self):
        """{"samples": {case: {contender: {figure: [a value each round]}}}}, a line a contender."""
        samples = {
            case: {contender: _by_figure(rounds) for contender, rounds in contenders.items()}
            for case, contenders in self.samples.items()
        }
        whole = {
            "facts": self.facts,
            "samples": samples,
            "faults": self.faults,
            "not available": self.absent,
        }
        return _lines(whole, 3) + "\n"


def _by_figure(rounds):
    names = dict.fromkeys(name for sample in rounds if sample for name in sample)
    return {
        name: [float(f"{sample[name]:.4g}") if sample else None for sample in rounds]
        for name in names
    }


def _lines(value, depth, indent=""):
    """JSON with a line for each entry down to `depth`."""
    if not depth or not isinstance(value, dict) or not value:
        return json.dumps(value, ensure_ascii=False)
    inner = indent + " "
    entries = (
        f"{inner}{json.dumps(key)}: {_lines(entry, depth - 1, inner)}"
        for key, entry in value.items()
    )
    return "{\n" + ",\n".join(entries) + f"\n{indent}}}"
