"""Made-up contents of a report in which nothing is missing, with names that want to break the page."""

import base64
import io

import numpy as np
from PIL import Image

from mtl.ledger.neighbourhoods import HardNeighbourhood
from mtl.ledger.queries import ConfusedPair, HardClass, HardTask
from mtl.ledger.store import RoundRow
from mtl.report.contents import (
    ClassRow,
    Drawing,
    NeighbourhoodCard,
    PairCard,
    PhaseReport,
    RunReport,
    SettingResults,
    ShownClass,
    TaskCard,
    Thumbnail,
    WrongQuery,
)

HOSTILE = (
    "<script>alert(1)</script>",
    "\"double\" & 'single' > `tick`",
    "🦊 fox",
    "שלום עולם",
    "\u202etxet desrever",
    "{{ 7 * 7 }} {% raw %}",
    "a name of one hundred letters without a single place to break it: " + "m" * 100,
    "</style></title><img src=x onerror=alert(2)>",
)
NAMES = (*HOSTILE, *(f"letter {n:02d}" for n in range(32)))


class Maker:
    """Draws every value from one generator, so that no two fields are equal by chance."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def share(self) -> float:
        return float(self.random.uniform(0.05, 0.95))

    def shares(self, count: int, gaps: bool = False) -> list[float | None]:
        return [None if gaps and i % 5 == 2 else self.share() for i in range(count)]

    def names(self, count: int) -> list[str]:
        return [NAMES[i] for i in self.random.permutation(len(NAMES))[:count]]

    def picture(self, name: str, side: int = 28) -> Thumbnail:
        pixels = np.kron(self.random.integers(0, 255, (7, 7, 3)), np.ones((side // 7, side // 7, 1)))
        out = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(out, "PNG")
        source = "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
        return Thumbnail(source, side, side, f"an image of {name}")

    def pictures(self, name: str, count: int, side: int = 28) -> list[Thumbnail]:
        return [self.picture(name, side) for _ in range(count)]

    def drawing(self, name: str, caption: str) -> Drawing:
        points = " ".join(f"{10 * i},{self.random.integers(10, 190)}" for i in range(60))
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" width="600pt" height="200pt" viewBox="0 0 600 200">'
            f'<defs><clipPath id="clip-{name}"><path d="M0 0H600V200H0Z"/></clipPath></defs>'
            f'<g clip-path="url(#clip-{name})"><path d="M10 190H590M10 10V190" stroke="var(--line)"/>'
            f'<polyline points="{points}" fill="none" stroke="#d9772b"/></g>'
            '<text x="20" y="30" style="fill: currentColor; font: 11px sans-serif">loss &lt; 1</text></svg>'
        )
        return Drawing(name, svg, caption, f"A curve: {name}")

    def task(self, way: int = 5, shot: int = 1, verdict: str | None = None) -> TaskCard:
        classes = self.names(way)
        wrong = [
            WrongQuery(self.picture(own) if i % 4 else None, own, classes[(i + 1) % way], self.share())
            for i, own in enumerate(classes * 2)
            if own != classes[-1]
        ]
        return TaskCard(
            task=HardTask(
                classes=tuple(classes),
                first=self.share(),
                last=self.share(),
                mean=self.share(),
                seen=int(self.random.integers(1000, 9999)),
                resampled=int(self.random.integers(1000, 9999)),
                weight=float(self.random.uniform(1, 9)),
                verdict=verdict,
            ),
            history=self.shares(12, gaps=True),
            shown=[ShownClass(name, self.share(), self.pictures(name, shot)) for name in classes],
            worst_accuracy=self.share(),
            worst_step=int(self.random.integers(100, 999)),
            worst_id=f"1-{self.random.integers(100, 999)}",
            wrong=wrong,
            more_wrong=int(self.random.integers(100, 999)),
            answers_known=True,
        )

    def neighbourhood(self) -> NeighbourhoodCard:
        name, *members = self.names(6)
        row = HardNeighbourhood(
            name=name,
            members=tuple(members),
            first=self.share(),
            last=self.share(),
            mean=self.share(),
            drawn=int(self.random.integers(1000, 9999)),
            trained=self.share(),
            weight=float(self.random.uniform(1, 9)),
            history=tuple(self.share() for _ in range(10)),
        )
        return NeighbourhoodCard(row, self.pictures(name, 3), [self.pictures(m, 2) for m in members])

    def row(self, name: str, group: str | None) -> ClassRow:
        recall = self.share()
        row = HardClass(
            name=name,
            group=group,
            recall=recall,
            low=recall - 0.04,
            high=recall + 0.031,
            queries=99,
            draws=int(self.random.integers(1000, 20_000)),
            hard_draws=int(self.random.integers(1000, 99_999)),
            early=None,
            late=None,
            trend=float(self.random.uniform(-0.3, 0.3)) if name != NAMES[3] else None,
        )
        return ClassRow(row, self.shares(24, gaps=True), self.pictures(name, 2))

    def pair(self) -> PairCard:
        first, second = self.names(2)
        one, other = self.share(), self.share()
        pair = ConfusedPair(
            (first, second), (one + other) / 2, one, other, int(self.random.integers(100, 9999))
        )
        return PairCard(pair, self.pictures(first, 3, 56), self.pictures(second, 3, 56))

    def rounds(self, count: int) -> list[RoundRow]:
        return [
            RoundRow(n, 50 * n, "class", 400 + n, self.share() if n > 1 else float("nan"), self.share(),
                  self.share(), self.share())
            for n in range(1, count + 1)
        ]  # fmt: skip

    def phase(self, title: str, at: str, verdict: str | None = None) -> PhaseReport:
        groups = ["Latin", "עברית", None]
        return PhaseReport(
            title=title,
            split=f"split of {at}",
            episodes=int(self.random.integers(10_000, 99_999)),
            tasks=[self.task(5 if i else 8, 1 + i % 2, verdict) for i in range(8)],
            classes=[self.row(name, groups[i % 3]) for i, name in enumerate(NAMES)],
            classes_in_all=int(self.random.integers(1000, 9999)),
            pairs=[self.pair() for _ in range(14)],
            rounds=self.rounds(12),
            rounds_in_all=int(self.random.integers(1000, 9999)),
            confusion=self.drawing(f"confusion-{at}", f"Who was taken for whom, {at}."),
            boosting=self.drawing(f"boosting-{at}", f"Rounds and weights, {at}."),
            draw_share=self.drawing(f"extra-{at}", f"Where the hard draws went, {at}."),
            improvement=self.drawing(f"improvement-{at}", f"Before and after, {at}."),
            improvement_note=f"What was picked gained 3.1 points, {at}.",
            neighbourhoods=[self.neighbourhood() for _ in range(8)],
            learned=[self.neighbourhood() for _ in range(4)],
            class_map=self.drawing(f"class-map-{at}", f"Classes by mean and spread, {at}."),
            pair_map=self.drawing(f"pair-map-{at}", f"Pairs by mean and spread, {at}."),
        )

    def score(self, name: str, first: bool) -> dict[str, object]:
        gap = (None, None) if first else (self.share() - 0.5, self.share() / 10)
        return {
            "name": name,
            "accuracy": self.share(),
            "interval": self.share() / 50,
            "percentile_5": self.share(),
            "difference": gap[0],
            "difference_interval": gap[1],
            "class_recall": {name: (self.share(), 0.0, 1.0) for name in NAMES[:3]},
        }

    def run(self, name: str, at: str) -> RunReport:
        baselines = ["meta-trained", "pretrained backbone", HOSTILE[0]]
        return RunReport(
            name=name,
            progress=f"Trained for 5,000 of 5,000 steps, {at}.",
            facts=[("image set", f"set of {at}"), ("backbone", "Conv4"), ("hostile", HOSTILE[0])],
            settings=[
                SettingResults(
                    f"{way}-way 1-shot, {at}",
                    {
                        "tasks": 10_000 + way,
                        "split": f"part of {at}",
                        "scores": [self.score(of, i == 0) for i, of in enumerate(baselines)],
                    },
                    f"The worst tasks of {way}-way {at}: 12 hard classes.",
                )
                for way in (5, 20)
            ],
            base=f"Base classes, {at}: 93.2 ± 0.4 % right.",
            trials=f"One-shot trials of {at}: 6.1 ± 1.0 % errors.",
            curves=[self.drawing(f"curve-{at}", f"Loss over steps, {at}.")],
            phases=[
                self.phase(f"evaluate test 5-way 1-shot, {at}", f"{at}-test", "unlucky support"),
                self.phase(f"meta-train, {at}", f"{at}-train"),
            ],
            space=self.drawing(f"space-{at}", f"Features before and after, {at}."),
            config=f"run: {at}\ndata:\n  name: {HOSTILE[7]}\n",
            environment=[("torch", f"2.6 of {at}"), ("processor", HOSTILE[1])],
            missing=[f"No video of {at}: it was never taken."],
        )
