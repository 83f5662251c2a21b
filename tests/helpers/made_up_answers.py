"""Made-up answers to pictures, with names that want to break the page."""

from made_up import HOSTILE, NAMES, Maker

from mtl.own_images.answers import Row
from mtl.own_images.predict_report import AnswerCard, AnswersPage, ClassCard, ConfusedClasses

CLASSES = HOSTILE[:6]
TOLD = ("In 41 of 50 cases <b>right</b>.", "Give 3 more pictures of {{ ash }}.")


def answers_page(cards: int = 40, none: bool = True) -> AnswersPage:
    """`cards` answers, least certain first; every seventh has no picture; none is of the second class."""
    make = Maker(1)
    made = []
    for i in range(cards):
        first, second = make.random.permutation([0, *range(2, len(CLASSES))])[:2]
        made.append(
            AnswerCard(
                Row(
                    file=f"new/{(7 * i) % cards:03d} {NAMES[i % len(NAMES)]}.png",
                    answer=CLASSES[first],
                    probability=0.3 + 0.65 * i / cards,
                    runner_up=CLASSES[second],
                    runner_up_probability=0.25 - 0.2 * i / cards,
                    none=0.45 - 0.4 * i / cards if none else None,
                ),
                *((None,) if i % 7 == 3 else (make.picture(f"picture {i}", 84), f'/new, "old"/{i}.png')),
            )
        )
    classes = [
        ClassCard(name, 3 + i, make.pictures(name, 3), sum(card.row.answer == name for card in made))
        for i, name in enumerate(CLASSES)
    ]
    return AnswersPage(
        title="What 40 <pictures> show",
        unsure=1200,
        summary="40 pictures classified: ash & elm.",
        facts=[("Classifier", "runs/<i>mine</i>"), ("Support pictures", "30")],
        outlook=TOLD,
        confused=[ConfusedClasses(classes[0], classes[3], 0.42)],
        calibration="Probabilities are calibrated.",
        cards=made,
        answered=1234,
        table="predictions & more.csv",
        classes=classes,
        learns_by=["fit --classifier 'my things.fewshot' --fix corrections.csv"],
        not_learned=["things/<b>1</b>.png: is not a readable image (the file is empty)"],
        not_answered=["new/0.png: is not a readable image (it holds text, whatever its name says)"],
    )
