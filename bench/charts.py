"""Bar charts as SVG. Pure: what goes in is labels and spreads, what comes out is text."""

from html import escape

WIDTH, LABELS, VALUES = 760, 290, 90
BAR, GAP, HEAD, PANEL_HEAD = 16, 6, 34, 26
OURS, OTHERS, FLOOR = "#2f6f4f", "#9db4c8", "#cfcfcf"
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#222}.title{font-size:15px;font-weight:600}"
    ".panel{font-weight:600}.value{fill:#444}"
)


def _colour(name):
    if name.startswith("ours"):
        return OURS
    return FLOOR if name in {"null", "static"} else OTHERS


def _number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _panel(y, subtitle, unit, bars):
    """(the elements, the y below them); a whisker shows the least and the greatest value."""
    most = max(spread.high for _, _, spread in bars) or 1
    scale = (WIDTH - LABELS - VALUES) / most
    yield f'<text class="panel" x="8" y="{y + 14}">{escape(subtitle)} ({escape(unit)})</text>'
    y += PANEL_HEAD
    for name, label, spread in bars:
        middle = y + BAR / 2
        length = max(1, spread.median * scale)
        low, high = LABELS + spread.low * scale, LABELS + spread.high * scale
        yield (
            f'<text x="{LABELS - 8}" y="{y + 12}" text-anchor="end">{escape(label)}</text>'
            f'<rect x="{LABELS}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"'
            f' fill="{_colour(name)}"/>'
            f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#555"/>'
            f'<text class="value" x="{max(high, LABELS + length) + 6:.1f}" y="{y + 12}">'
            f"{_number(spread.median)}</text>"
        )
        y += BAR + GAP


def bars(title, panels):
    """One chart. `panels` is a list of (subtitle, unit, [(contender, label, Spread)])."""
    y, elements = HEAD, []
    for subtitle, unit, values in panels:
        elements += _panel(y, subtitle, unit, values)
        y += PANEL_HEAD + len(values) * (BAR + GAP) + 8
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}"'
        f' height="{y}" role="img" aria-label="{escape(title)}">\n<style>{STYLE}</style>\n'
        f'<rect width="{WIDTH}" height="{y}" fill="#fff"/>\n'
        f'<text class="title" x="8" y="22">{escape(title)}</text>\n'
        + "\n".join(elements)
        + "\n</svg>\n"
    )
