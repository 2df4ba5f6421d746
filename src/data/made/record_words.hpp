#pragma once

#include <array>

// The words and the wordings of records. A value stands for {} in a sentence.
namespace th::data {

enum Field : int { kAmount, kProduct, kBuyer, kPlace, kYear, kFields };

inline constexpr std::array kUnits = {"bales", "barrels", "crates", "sacks", "casks", "bundles"};
inline constexpr std::array kProducts = {
    "linen",   "copper",  "salt",    "wool",   "barley",   "honey",  "timber", "slate",
    "tallow",  "hemp",    "saffron", "amber",  "pepper",   "cotton", "silk",   "leather",
    "oats",    "rye",     "hops",    "resin",  "charcoal", "chalk",  "flax",   "indigo",
    "almonds", "herring", "cheese",  "butter", "vinegar",  "lead",   "zinc",   "glass",
    "paper",   "candles", "nails",   "rope",   "tiles",    "wax",    "cider",  "tobacco"};
inline constexpr std::array kFirstNames = {
    "otto",   "anna",   "emil",   "clara", "hugo",   "marta",   "felix",  "ida",
    "oskar",  "greta",  "jonas",  "lena",  "anton",  "vera",    "paul",   "nora",
    "simon",  "edith",  "viktor", "alma",  "robert", "helena",  "arthur", "sofia",
    "walter", "irma",   "gustav", "rosa",  "konrad", "johanna", "albert", "emma",
    "bruno",  "judith", "ludwig", "paula", "martin", "agnes",   "erich",  "selma"};
inline constexpr std::array kLastNames = {
    "brandt",  "keller",  "vogel",    "lindner", "sommer", "winkler", "haas",     "berger",
    "kramer",  "fuchs",   "ziegler",  "pohl",    "arnold", "kuhn",    "jansen",   "seidel",
    "heller",  "brenner", "kessler",  "roth",    "simmel", "baumann", "graf",     "thiele",
    "voss",    "lorenz",  "pfeiffer", "engel",   "maurer", "busch",   "dietrich", "stein",
    "ullrich", "marten",  "ebert",    "kolbe",   "nagel",  "opitz",   "rudolf",   "sievers",
    "tauber",  "unger",   "wagner",   "zander",  "albers", "bartels", "conrad",   "dorn",
    "ehlers",  "falk",    "gerlach",  "hartwig", "imhof",  "jahn",    "kaiser",   "lauer",
    "merz",    "nolte",   "ostwald",  "petri"};
inline constexpr std::array kPlaces = {
    "ardenne", "lindau", "morwick", "tarvin",    "elstow",  "garding", "hollern", "kellby",
    "norden",  "oldham", "pressow", "quern",     "ribnitz", "selwick", "torgau",  "uelzen",
    "varel",   "wismar", "yarm",    "zerbst",    "altena",  "bruges",  "calder",  "dornum",
    "emden",   "frome",  "goslar",  "husum",     "ilfeld",  "jever",   "kirkby",  "ludlow",
    "malton",  "neuss",  "orsoy",   "penrith",   "ratzeby", "stade",   "thirsk",  "ulrum",
    "verden",  "whitby", "xanten",  "yelling",   "zutphen", "aurich",  "bodmin",  "celle",
    "durham",  "esens",  "fulda",   "greetsiel", "hexham",  "ipswich", "juist",   "kempen",
    "leer",    "minden", "nairn",   "otley"};

/// Sentences that state a field of the record; none is longer than kLongestSentence words.
inline constexpr int kWordings = 6, kLongestSentence = 12;
inline constexpr std::array<std::array<const char*, kWordings>, kFields> kFactSentences = {
    {{"the guard counted {} .", "{} were weighed in the morning .", "there were {} , no more .",
      "the list spoke of {} .", "they had tied up {} .", "a man at the bridge saw {} go by ."},
     {"the load was {} .", "the carts were full of {} .", "nothing but {} lay under the cloth .",
      "{} was what they carried .", "a smell of {} hung over the road .",
      "this time it was {} that was wanted ."},
     {"the buyer was {} .", "{} paid for all of it .", "the bill was made out to {} .",
      "it was {} who had asked for it .", "a clerk read the name of {} aloud .",
      "in the book {} stands as the buyer ."},
     {"the load was put ashore at {} .", "the carts went to {} .", "it was all unloaded in {} .",
      "{} was where the journey ended .", "at the gate of {} the seals were broken .",
      "they had to bring it to {} ."},
     {"all this was in {} .", "the year was {} .", "the bill bears the date of {} .",
      "it happened in the summer of {} .", "{} was the year of the delivery .",
      "people still spoke of {} long after ."}}};

/// Sentences with a value that is not the record's.
inline constexpr std::array<std::array<const char*, 2>, kFields> kOtherSentences = {
    {{"another driver had lost {} .", "the week before there had been {} ."},
     {"last time it had been {} .", "no one had asked for {} ."},
     {"a brother of {} had moved away .", "{} sold them a horse ."},
     {"the road from {} was closed .", "an old woman from {} told stories ."},
     {"the inn was built in {} .", "the bridge dates from {} ."}}};

/// Sentences without one.
inline constexpr std::array kPlainSentences = {"it had rained for three days .",
                                               "the horses were tired .",
                                               "nobody asked any questions .",
                                               "a dog slept beside the fire .",
                                               "the bridge had been mended in a hurry .",
                                               "the inn had no bread left .",
                                               "the wind came from the west .",
                                               "two wheels broke on the way .",
                                               "the innkeeper shut the door early .",
                                               "some said it could not be done .",
                                               "the river was high .",
                                               "a boy ran after them for a mile .",
                                               "the way was full of holes .",
                                               "they sang until midnight .",
                                               "snow still lay on the hills .",
                                               "the guard wanted to see their letters .",
                                               "one of them had lost his hat .",
                                               "the price had gone up again .",
                                               "a letter arrived too late .",
                                               "the clock in the tower had stopped .",
                                               "their coats were wet through .",
                                               "it was market day .",
                                               "the ferry did not wait .",
                                               "the moon was behind clouds ."};

/// What a headline has of a field; a headline without any is kNoNews.
inline constexpr std::array<const char*, kFields> kHeadlineParts = {"{}", "of {}", "for {}",
                                                                    "at {}", "in {}"};
inline constexpr const char* kNoNews = "no news";

}  // namespace th::data
