"""The words that problems are made of, and how lists and numbers are spelt."""

from __future__ import annotations

from collections.abc import Sequence

NAMES = tuple(
    """
    Ada Alan Amir Anna Ben Bianca Carl Chen Clara Dana David Dora Elif Emil Eva Femi Finn Grace Hana
    Hugo Ida Igor Iris Ivan Jack Jana Jonas Julia Kai Karim Kira Lars Lea Leo Lina Lucas Maja Marco
    Maya Mila Nadia Nico Nina Noah Olga Omar Oscar Paul Petra Priya Rosa Ruth Sami Sara Sofia Tara
    Theo Tom Uma Vera Viktor Wanda Yara Zoe
    """.split()  # noqa: SIM905
)

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
ORDINALS = ("zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh")

CATEGORIES = {
    category: tuple(nouns.split())
    for category, nouns in {
        "fruits": "apple banana cherry fig grape kiwi lemon melon orange peach pear plum",
        "vegetables": "artichoke beet cabbage carrot leek onion parsnip pumpkin radish shallot turnip yam",
        "animals": "bear cat cow dog duck fox frog goat horse owl rabbit zebra",
        "musical instruments": "banjo cello clarinet drum flute guitar harp oboe piano trumpet tuba violin",
        "pieces of furniture": "armchair bed bench bookcase chair couch cupboard desk dresser stool table wardrobe",
    }.items()
}
"""Things that are counted. None belongs to two categories, and :func:`plural` knows all of them."""

SORTING_WORDS = tuple(
    """
    abbey able acorn actor agent album alert amber anchor ankle apron arch arrow atlas autumn axle
    bacon badge baker bamboo barrel basil basket beach beacon beetle bell berry birch biscuit
    blanket blossom bolt border bottle bowl branch bread bridge bronze broom bucket bundle button
    cabin cable cactus camel canal candle canvas carbon cargo carpet castle cattle cellar chalk
    chapel chess chorus cinema circle cliff cloak clock cloud clover coast cobalt comet compass
    copper coral cotton crane cradle cream crystal cube curtain custom dairy daisy dancer dawn delta
    denim diamond dinner dolphin domain donkey dough dragon drawer dream drift eagle earth easel
    echo eclipse edge elbow elm ember empire engine envoy epoch fabric falcon farmer feather fence
    fern ferry fiber fiddle field flame flask fleet flint flock flour forest fossil fountain frame
    freight frost gallon garden garlic garnet gate gem ginger glacier glass globe glove goblet grain
    granite gravel grove guest gulf hammer harbor harvest hazel heather hedge helmet herb hermit
    hill honey hook horizon hotel hymn icicle image index ink insect iron island ivory ivy jacket
    jasmine jelly jewel journal jungle juniper kernel kettle kingdom kitchen kite knight knot label
    ladder lagoon lamp lantern larch lark laurel lava lawn leaf ledger lens letter lily linen lion
    lizard lobby locket lotus lumber lunch magnet mantle maple marble margin market marsh mask
    meadow medal melody metal meteor mill mineral mint mirror moss motor mountain mural museum
    napkin nectar needle nest nickel noble noodle north nutmeg oak oasis ocean olive onyx opal opera
    orbit orchard organ otter oven oxygen oyster paddle palace panel paper parade parcel parrot
    pastry path pebble pencil pepper petal phrase pigeon pillow pilot pine planet plaza plow pocket
    poem pollen pond portal pottery prairie prism pulse pumpkin puzzle quarry quartz queen quill
    quilt radio raft rain raven reef ribbon ridge river robin rocket roof rope rose ruby rudder
    saddle saffron sailor salad salmon salt sandal satin scarf school shadow shelf shell shore
    signal silk silver sketch sled smoke snow soap soil spark spice spiral spoon spruce squash
    stable statue steam stone storm straw stream sugar summer sunset swan tailor tangle tavern
    temple tent thistle thorn thread thunder ticket tiger timber torch tower trail trench tulip
    tunnel turtle umbrella uncle urn valley vanilla vapor vault velvet verse village vine vinegar
    voyage wagon walnut water wave weaver whale wheat wheel whistle willow window winter wolf wood
    wool yard yarn yeast yolk zebra zenith zinc
    """.split()  # noqa: SIM905
)


def plural(noun: str) -> str:
    """The plural of a noun of CATEGORIES: ``figs``, ``foxes``, ``cherries``."""
    if noun.endswith("y"):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("ch", "sh", "x")) else f"{noun}s"


def with_article(noun: str) -> str:
    """``an owl``, ``a fox``; the words here are regular."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def listed(items: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b, and c``."""
    if len(items) < 3:
        return " and ".join(items)
    return f"{', '.join(items[:-1])}, and {items[-1]}"
