"""Images that perceptual hashes take for each other: flags, letters, icons, line drawings, one form in several colors."""

import random
import string

from PIL import Image, ImageDraw, ImageFont

COLORS = (
    "#0055A4", "#EF4135", "#009246", "#CE2B37", "#FF883E", "#F77F00", "#000000", "#FAE042", "#002B7F", "#FCD116", "#14B53A",
    "#FFFFFF", "#7F3FBF", "#7F7F7F",
)  # fmt: skip
TRICOLORS = {
    "france": "#0055A4 #FFFFFF #EF4135", "italy": "#009246 #FFFFFF #CE2B37", "ireland": "#169B62 #FFFFFF #FF883E",
    "ivory coast": "#F77F00 #FFFFFF #009E60", "belgium": "#000000 #FAE042 #ED2939", "romania": "#002B7F #FCD116 #CE1126",
    "chad": "#002664 #FECB00 #C60C30", "guinea": "#CE1126 #FCD116 #009460", "mali": "#14B53A #FCD116 #CE1126",
    "peru": "#D91023 #FFFFFF #D91023", "nigeria": "#008751 #FFFFFF #008751",
}  # fmt: skip


def flag(colors: list[str], horizontal: bool = False) -> Image.Image:
    image = Image.new("RGB", (96, 64))
    for i, color in enumerate(colors):
        whole = 64 if horizontal else 96
        low, high = whole * i // len(colors), whole * (i + 1) // len(colors)
        image.paste(color, (0, low, 96, high) if horizontal else (low, 0, high, 64))
    return image


def flags() -> list[Image.Image]:
    """Eleven real ones, upright and lying, and forty of two or three random colors."""
    rng = random.Random(0)
    real = [flag(colors.split(), lying) for lying in (False, True) for colors in TRICOLORS.values()]
    drawn = {(tuple(rng.sample(COLORS, 2 + i % 2)), i % 4 < 2) for i in range(40)}
    return real + [flag(list(colors), lying) for colors, lying in sorted(drawn)]


def letters(size: int, corner: bool, side: int = 128) -> list[Image.Image]:
    """The alphabet in black, in the middle or near a corner."""
    font, made = ImageFont.load_default(size), []
    for letter in string.ascii_uppercase:
        image = Image.new("RGB", (side, side), "white")
        draw = ImageDraw.Draw(image)
        left, top, right, bottom = draw.textbbox((0, 0), letter, font=font)
        middle = (side - left - right) / 2, (side - top - bottom) / 2
        draw.text((side // 8, side // 8) if corner else middle, letter, fill="black", font=font)
        made.append(image)
    return made


def icons(count: int = 120) -> list[Image.Image]:
    """One to three plain shapes on white."""
    made = []
    for seed in range(count):
        rng = random.Random(seed)
        image = Image.new("RGB", (128, 128), "white")
        draw = ImageDraw.Draw(image)
        for _ in range(rng.randint(1, 3)):
            x, y, w, h = (rng.randint(*limits) for limits in ((16, 64), (16, 64), (24, 60), (24, 60)))
            color = rng.choice(COLORS[:11])
            shape = rng.choice(("ellipse", "box", "triangle", "line"))
            if shape == "ellipse":
                draw.ellipse((x, y, x + w, y + h), fill=color)
            elif shape == "box":
                draw.rounded_rectangle((x, y, x + w, y + h), 6, fill=color)
            elif shape == "triangle":
                draw.polygon((x, y + h, x + w, y + h, x + w // 2, y), fill=color)
            else:
                draw.line((x, y, x + w, y + h), fill=color, width=10)
        made.append(image)
    return made


def drawings(count: int = 120) -> list[Image.Image]:
    """A few thin black lines on white."""
    made = []
    for seed in range(count):
        rng = random.Random(seed)
        image = Image.new("RGB", (160, 160), "white")
        draw = ImageDraw.Draw(image)
        for _ in range(rng.randint(2, 7)):
            points = [(rng.randint(10, 150), rng.randint(10, 150)) for _ in range(rng.randint(2, 6))]
            draw.line(points, fill="black", width=rng.randint(1, 3), joint="curve")
        made.append(image)
    return made


def shirts() -> list[Image.Image]:
    """One form in every color, in the size of a product and of a small sign."""
    form = [(40, 20), (60, 30), (100, 30), (120, 20), (150, 60), (128, 75), (118, 65), (118, 145), (42, 145), (42, 65),
            (32, 75), (10, 60)]  # fmt: skip
    made = []
    for scale in (1.0, 0.3):
        for color in COLORS:
            if color != "#FFFFFF":
                image = Image.new("RGB", (160, 160), "white")
                ImageDraw.Draw(image).polygon([(scale * x, scale * y) for x, y in form], fill=color)
                made.append(image)
    return made
