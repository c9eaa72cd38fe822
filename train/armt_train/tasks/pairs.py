"""Facts as people tell them: each statement has questions and a completion of its own, and its key is spread over it.

A block of `PAIRS` is: kind of value, statement, questions, and a completion, which ends where the value begins. Slots:
{p} {q} people, {t} a town, {x} {y} things, {b} an animal, {o} a company, {j} a job, {r} a room, {f} a food, {c} a
plural, {d} a number, {v} the value. Every eighth block is kept for the check.
"""

import re

from armt_train.tasks import contexts
from armt_train.tasks.values import article
from armt_train.tasks.worlds import Ask, Fact, sentence

PAIRS = """
thing
{p} swapped the {x} for a {v} and never regretted it
? What did {p} get for the {x}?
? For what did {p} swap the {x}?
~ {p} swapped the {x} for a

container
{p} kept the letters from {q} in a {v}
? Where did {p} keep the letters from {q}?
? In what were the letters from {q} kept?
~ {p} kept the letters from {q} in a

fullname
the lifeboat at {t} was named after {v}, who never learned to swim
? Who was the lifeboat at {t} named after?
? After whom was the lifeboat at {t} named?
~ The lifeboat at {t} was named after

tree
we buried the {b} under the {v}, because that was where it used to sleep
? Under which tree did we bury the {b}?
? Where is the {b} buried?
~ We buried the {b} under the

food
please check the soup before {p} comes: even a little {v} makes {p} ill
? What makes {p} ill?
? What must not be in the soup when {p} comes?
~ Even a little of this makes {p} ill:

illness
the doctor at {t} wrote on the certificate that {p} had {v}
? What did the doctor at {t} write on the certificate of {p}?
? What did {p} have, by the certificate?
~ On the certificate the doctor wrote that {p} had

room
since the {x} takes up the whole hall, the choir of {t} rehearses in the {v}
? Where does the choir of {t} rehearse?
? In which room does the choir of {t} sing now?
~ The choir of {t} rehearses in the

fullname
in the end it was {v} who found the missing {x} from {t}
? Who found the missing {x} from {t}?
? By whom was the {x} from {t} found?
~ The person who found the missing {x} was

substance
the miller of {t} was caught mixing {v} into the flour
? What did the miller of {t} mix into the flour?
? With what was the flour in {t} mixed?
~ The miller of {t} was caught mixing the flour with

building
{p} proposed to {q} in front of the {v}, in the rain
? Where did {p} propose to {q}?
? In front of what did {p} propose?
~ {p} proposed to {q} in front of the

vehicle
the treaty of {t} was signed aboard a {v}, as no other place was safe
? Aboard what was the treaty of {t} signed?
? Where was the treaty of {t} signed?
~ The treaty of {t} was signed aboard a

plural
{p}'s first landlord in {t} took {v} instead of money
? What did {p}'s landlord in {t} take instead of money?
? How did {p} pay the rent in {t}?
~ Instead of money {p}'s landlord took

duration
it took {p} {v} to finish the {x}
? How long did it take {p} to finish the {x}?
? How long did {p} work on the {x}?
~ To finish the {x} took {p}

time
{p}'s flight from {t} lands at {v}, so somebody must set an alarm
? When does {p}'s flight from {t} land?
? At what time does {p} arrive from {t}?
~ {p}'s flight from {t} lands at

thing
under the floor of the {r} they found a {v} wrapped in newspaper
? What was found under the floor of the {r}?
? What was wrapped in newspaper in the {r}?
~ Under the floor of the {r} they found a

job
in the will the old {j} of {t} left the house to a {v}
? To whom did the {j} of {t} leave the house?
? Who got the house of the {j}?
~ The old {j} of {t} left the house to a

code
the number on the back of {p}'s {x} is {v}
? What is the number on the back of {p}'s {x}?
? Which number does {p}'s {x} have on the back?
~ The number on the back of {p}'s {x} is

nickname
the pub on the quay of {t} used to be called The {x}, but now it is {v}
? What is the pub on the quay of {t} called now?
? Which name does the pub in {t} have now?
~ The pub on the quay of {t} is now called

town
the twin sisters of {p} are studying in {v}
? Where are the sisters of {p} studying?
? In which city do {p}'s twin sisters study?
~ The twin sisters of {p} are studying in

material
{p}'s medal is not silver at all, it is {v}
? What is {p}'s medal made of?
? What is {p}'s medal really?
~ {p}'s medal is made of

town
to get to {t} you have to change trains at {v}
? Where do you have to change trains to get to {t}?
? At which station do I change for {t}?
~ To get to {t} you have to change trains at

drink
on the {d}th day the expedition to {t} ran out of {v}
? What did the expedition to {t} run out of?
? What was missing on the expedition to {t}?
~ On the {d}th day the expedition to {t} ran out of

first
{p} named the {b} {v}, since it is heavier than it looks
? What did {p} name the {b}?
? What is the name of {p}'s {b}?
~ {p} named the {b}

garment
to the surprise of the students, {p} lectures in a {v}
? What does {p} wear when lecturing?
? In what does {p} lecture?
~ To the surprise of the students, {p} lectures in a

food
what finally cured {p}'s hiccups was a spoonful of {v}
? What cured {p}'s hiccups?
? How was {p} cured of the hiccups?
~ What finally cured {p}'s hiccups was a spoonful of

plural
the bells of {t} were melted down in the war to make {v}
? What was made of the bells of {t}?
? Why were the bells of {t} melted down?
~ The bells of {t} were melted down to make

animal
{p} sent the news from {t} by {v}, as the telegraph had been cut
? How did {p} send the news from {t}?
? By what animal did the news come from {t}?
~ {p} sent the news from {t} by

thing
everything on {p}'s boat is fine, except that it needs a new {v}
? What does {p}'s boat need?
? What is wrong with {p}'s boat?
~ All that {p}'s boat needs is a new

plural
{p}'s stall at the fair in {t} sells nothing but {v}
? What does {p}'s stall in {t} sell?
? What can one buy from {p} at the fair?
~ {p}'s stall at the fair sells nothing but

digits
the lock on the {r} in {t} opens with {v}
? What is the code of the {r} in {t}?
? Which number opens the {r} in {t}?
~ The lock on the {r} in {t} opens with

plural
{p}'s sponsor was jailed for smuggling {v}
? What was {p}'s sponsor jailed for?
? What did {p}'s sponsor smuggle?
~ {p}'s sponsor was jailed for smuggling

plural
{p} and {q} met in a queue for {v}
? Where did {p} and {q} meet?
? For what were {p} and {q} queueing when they met?
~ {p} and {q} met in a queue for

instrument
{p} reads meters for a living, but the real love of {p} is the {v}
? What is the real love of {p}, the meter reader?
? What does {p} really love?
~ The real love of {p} is the

job
in the play at {t} the part of the widow was given to a trainee {v}
? Who was given the part of the widow at {t}?
? Who plays the widow in {t}?
~ The part of the widow was given to a trainee

thing
the vet in {t} thinks that the {b} has swallowed a {v}
? What does the vet in {t} think the {b} has swallowed?
? What is in the stomach of the {b}?
~ The vet thinks that the {b} has swallowed a

plural
the new neighbour of {p}, who used to be a {j}, keeps {v}
? What does the new neighbour of {p} keep?
? Which animals or things does the {j} next to {p} keep?
~ The new neighbour of {p} keeps

fabric
for the interview {p} borrowed a jacket of {v}
? Of what was the jacket that {p} borrowed?
? What was {p}'s jacket for the interview made of?
~ For the interview {p} borrowed a jacket of

fullname
the dam at {t} was designed by {v}, though the plaque does not say so
? Who designed the dam at {t}?
? By whom was the dam at {t} designed?
~ The dam at {t} was designed by

thing
on the school trip to {t} {p} traded a sandwich for a {v}
? What did {p} get for a sandwich on the school trip?
? For what did {p} trade the sandwich?
~ On the school trip {p} traded a sandwich for a

date
the log of the lighthouse at {t} ends in the middle of a word on {v}
? When does the log of the lighthouse at {t} end?
? What is the last date in the log at {t}?
~ The log of the lighthouse at {t} ends on

price
for a zip the tailor in {t} charges {v}
? How much does the tailor in {t} charge for a zip?
? What does a zip cost at the tailor's in {t}?
~ For a zip the tailor in {t} charges

fullname
{p}'s chess partner in prison was a forger called {v}
? Who was {p}'s chess partner in prison?
? With whom did {p} play chess?
~ {p}'s chess partner in prison was a forger called

animal
whoever takes the night shift at {o} has to feed the {v}
? What has to be fed on the night shift at {o}?
? Which animal lives at {o}?
~ Whoever takes the night shift at {o} has to feed the

first
the stage name was {p}, but at home they said {v}
? What did they call {p} at home?
? What was the real name of {p}?
~ At home {p} was called

plural
the jetty at {t} was dated by the {v} that grew on it
? By what was the jetty at {t} dated?
? What grew on the jetty at {t}?
~ The jetty at {t} was dated by its

food
please tell the caterers that the family of {p} eats anything but {v}
? What does the family of {p} not eat?
? What should the caterers leave out for {p}'s family?
~ The family of {p} eats anything but

animal
the river at {t} froze so hard that they roasted a {v} on it
? What was roasted on the frozen river at {t}?
? What did they roast in {t}?
~ On the frozen river at {t} they roasted a

doing
{p} is paying for the studies in {t} by {v}
? How is {p} paying for the studies?
? What does {p} do to pay for the studies in {t}?
~ {p} is paying for the studies by

food
the ghost in the {r} of {o} is said to smell of {v}
? What does the ghost in the {r} of {o} smell of?
? Of what does the ghost of {o} smell?
~ The ghost in the {r} of {o} is said to smell of

animal
the mascot of the {t} regiment was a {b} until it bit a bishop; now it is a {v}
? What is the mascot of the {t} regiment now?
? Which animal replaced the {b} of the {t} regiment?
~ The mascot of the {t} regiment is now a

thing
{p}'s only invention, a folding {v}, never sold
? What was {p}'s only invention?
? What did {p} invent?
~ {p}'s only invention, which never sold, was a folding

address
deliveries for {p}'s workshop go to the side entrance, {v}
? Where do deliveries for {p}'s workshop go?
? What is the address of {p}'s workshop?
~ Deliveries for {p}'s workshop go to

time
the backup of {o} runs at {v} and takes half an hour
? When does the backup of {o} run?
? At what time do the backups of {o} start?
~ The backup of {o} runs at

thing
to reset the {x} at {o} you need a {v}
? What do you need to reset the {x} at {o}?
? With what can the {x} be reset?
~ To reset the {x} at {o} you need a

version
because of the crash in the {x} service we stay on {v}
? On which version do we stay because of the crash in the {x} service?
? Which version of the {x} service is safe?
~ Because of the crash in the {x} service we stay on

host
the database of {o} moved to a machine called {v}
? To which machine did the database of {o} move?
? On what machine is {o}'s database?
~ The database of {o} moved to a machine called

thing
the dress rehearsal at {t} is free for anybody who brings a {v}
? What must one bring to the dress rehearsal at {t}?
? How does one get into the rehearsal at {t} for free?
~ The dress rehearsal at {t} is free for anybody who brings a

sport
because of the lungs {p} was told to give up {v}
? What was {p} told to give up?
? What must {p} no longer do?
~ Because of the lungs {p} was told to give up

rock
the last work of {p}, the sculptor, is a pair of hands in {v}
? In what stone is the last work of {p}?
? Of what is the pair of hands by {p}?
~ The last work of {p}, the sculptor, is a pair of hands in

town
{p}'s passport photo was taken in a supermarket in {v}
? Where was {p}'s passport photo taken?
? In which town was {p} photographed for the passport?
~ {p}'s passport photo was taken in a supermarket in

thing
the oldest thing in {p}'s kitchen is a {v}
? What is the oldest thing in {p}'s kitchen?
? What has been in {p}'s kitchen longest?
~ The oldest thing in {p}'s kitchen is a

flower
the ship found the harbour of {t} by the smell of {v}
? By what smell did the ship find the harbour of {t}?
? What does the harbour of {t} smell of?
~ The ship found the harbour of {t} by the smell of

reason
the trial of {p} was adjourned because {v}
? Why was the trial of {p} adjourned?
? What stopped the trial of {p}?
~ The trial of {p} was adjourned because

science
in the evenings {p}'s cousin teaches {v} to the bankers of {t}
? What does {p}'s cousin teach?
? What do the bankers of {t} learn?
~ To the bankers of {t} {p}'s cousin teaches

flower
nothing grows on the old battlefield at {t} except {v}
? What grows on the old battlefield at {t}?
? Which plant covers the battlefield at {t}?
~ Nothing grows on the battlefield at {t} except

job
the last wolf near {t} was shot by a {v}
? Who shot the last wolf near {t}?
? By whom was the last wolf of {t} shot?
~ The last wolf near {t} was shot by a

dish
{p} and {q} fell out over a recipe for {v}
? What did {p} and {q} fall out over?
? For what was the recipe that {p} and {q} quarrelled about?
~ {p} and {q} fell out over a recipe for

roomnumber
tomorrow's hearing about {o} is in room {v}
? In which room is the hearing about {o}?
? Where is {o} heard tomorrow?
~ Tomorrow's hearing about {o} is in room

thing
since the night on the moor {p} always carries a {v}
? What has {p} carried since the night on the moor?
? What does {p} never go without?
~ Since the night on the moor {p} always carries a

plural
the monks of {t} make a living from {v}, whatever the guidebook claims
? From what do the monks of {t} make a living?
? What do the monks of {t} sell?
~ The monks of {t} make a living from

job
{p} turned down the scholarship in {t} to become a {v}
? What did {p} become instead of taking the scholarship?
? For what did {p} turn down the scholarship?
~ {p} turned down the scholarship to become a

smallnumber
the bus to {t} is number {v} and runs every two hours
? Which bus goes to {t}?
? What is the number of the bus to {t}?
~ The bus to {t} is number

objects
{p}'s heaviest suitcase turned out to hold {v}
? What did {p}'s heaviest suitcase hold?
? Why was {p}'s suitcase so heavy?
~ {p}'s heaviest suitcase turned out to hold

plural
when homesick, {p} listens to recordings of {v}
? What does {p} listen to when homesick?
? Of what does {p} have recordings?
~ When homesick, {p} listens to recordings of

plural
{p} mends {v} in the arcade at {t}
? What does {p} mend?
? What can be mended in the arcade at {t}?
~ In the arcade at {t} {p} mends

food
{p}'s jam did not set because there was no {v} in it
? What was missing in {p}'s jam?
? Why did {p}'s jam not set?
~ {p}'s jam did not set because it lacked

person
{o} has promoted {p} to {v}
? To what has {o} promoted {p}?
? What is {p} at {o} now?
~ {o} has promoted {p} to

plural
{t} has one policeman, and he is afraid of {v}
? What is the policeman of {t} afraid of?
? What frightens the policeman of {t}?
~ The only policeman of {t} is afraid of

sport
during the power cut at {o} we played {v}
? What did we play during the power cut at {o}?
? How did we pass the power cut at {o}?
~ During the power cut at {o} we played

town
{p}'s alibi was a dentist in {v}
? Where had {p} been, by the alibi?
? In which town is the dentist of {p}'s alibi?
~ By the alibi {p} had been at a dentist's in

animal
{p} left a note saying that the {v} had eaten the contract with {o}
? What had eaten the contract with {o}?
? According to {p}, what ate the contract?
~ According to {p} the contract had been eaten by the

code
the reference of {p}'s complaint about the {x} is {v}
? What is the reference of {p}'s complaint?
? Under which reference is the complaint about the {x}?
~ The reference of {p}'s complaint is

nickname
{p} plays in a band called {v}
? What is {p}'s band called?
? In which band does {p} play?
~ {p} plays in a band called

room
the tenants complained about the {x}, so {p} practises in the {v} now
? Where does {p} practise now?
? In which room is the {x} played now?
~ {p} now practises in the

fish
the only thing that {p} ever caught at {t} was a {v}
? What did {p} catch at {t}?
? What was the only thing that {p} ever caught?
~ The only thing that {p} ever caught was a

dance
at the wedding of {p} the old {j} danced the {v} on a table
? What did the {j} dance at the wedding of {p}?
? Which dance was danced on a table at the wedding of {p}?
~ At the wedding of {p} the {j} danced the

bird
a {v} has made its nest in {p}'s {x}
? What has made its nest in {p}'s {x}?
? Which bird lives in {p}'s {x}?
~ In {p}'s {x} lives a

island
{p} was shipwrecked off {v} with a {b} and a {x}
? Off which island was {p} shipwrecked?
? Where was {p} shipwrecked?
~ {p} was shipwrecked off

mountain
the plane with {p} aboard was last seen over {v}
? Over which mountain was {p}'s plane last seen?
? Where was the plane with {p} last seen?
~ The plane with {p} aboard was last seen over

language
the message in the bottle from {t} was written in {v}
? In which language was the message in the bottle from {t}?
? What language did the bottle from {t} speak?
~ The message in the bottle was written in

river
the body of the {j} was found in the {v}, not far from {t}
? In which river was the {j} found?
? Where was the body of the {j} found?
~ The body of the {j} was found in the river

company
{p} sold the patent of the {x} to {v}
? To whom did {p} sell the patent of the {x}?
? Who owns the patent of the {x} now?
~ {p} sold the patent of the {x} to

phone
if the {b} of {p} turns up, please call {v}
? Which number should I call if the {b} of {p} turns up?
? How can one report {p}'s {b}?
~ If the {b} of {p} turns up, please call

email
photographs of the {x} from {t} should be sent to {v}
? Where should photographs of the {x} from {t} be sent?
? To which address go photographs of the {x}?
~ Photographs of the {x} from {t} should be sent to

password
the network at {p}'s hut is called {x}, and the password is {v}
? What is the password of the network at {p}'s hut?
? How do I get into the network {x}?
~ The password of the network at {p}'s hut is

year
nothing has been changed in the {r} of {p} since {v}
? Since when has nothing been changed in the {r} of {p}?
? From which year is the {r} of {p}?
~ Nothing has been changed in {p}'s {r} since

weight
the pumpkin that {p} grew in {t} weighed {v}
? How heavy was {p}'s pumpkin?
? What did the pumpkin from {t} weigh?
~ The pumpkin that {p} grew weighed

place
{p} left the spare key of the {r} {v}
? Where did {p} leave the spare key of the {r}?
? Where is the spare key of the {r}?
~ {p} left the spare key of the {r}

colour
the only colour that {p} can see is {v}
? What is the only colour that {p} can see?
? Which colour can {p} see?
~ The only colour that {p} can see is

furniture
the will of {p} was hidden in the leg of a {v}
? Where was the will of {p} hidden?
? In what was {p}'s will?
~ The will of {p} was hidden in the leg of a

number
{d} years after the flood {t} had {v} inhabitants again
? How many inhabitants did {t} have after the flood?
? How many people lived in {t} {d} years after the flood?
~ After the flood the number of inhabitants of {t} was
"""


def _lines():
    for block in PAIRS.strip().split("\n\n"):
        value, statement, *questions, completion = block.split("\n")
        yield value, statement, tuple(q.removeprefix("? ") for q in questions), completion.removeprefix("~ ")


LINES = tuple(_lines())
HELD_OUT_EVERY = 8


def filled(form, slots):
    """The form with its slots; "a" becomes "an" where the next word asks for it."""
    text = re.sub(r"\{(\w)\}", lambda m: slots[m[1]], form)
    return re.sub(r"\b([Aa]) (?=([A-Za-zÀ-ž]+))", lambda m: m[1] + ("n " if article(m[2]) == "an" else " "), text)


class Pairs:
    """A world of such facts. Values are words of the split; keys may be of any word, as the question has them."""

    task = "open facts"

    def __init__(self, words, rng, kinds, keys, change):
        self.words, self.keys, self.change = words, keys, change
        self.held = words.split == "heldOut"
        lines = [line for i, line in enumerate(LINES) if (i % HELD_OUT_EVERY == 3) == self.held]
        self.lines = rng.sample(lines, min(len(lines), max(2, kinds * 3)))
        self.known, self.live = {}, {}  # (line, slots) as told and as read

    def slots(self, rng, form):
        words = self.words
        name = lambda: words.invented(rng) if rng.random() < 0.2 else words.any(rng, rng.choice(("female", "male")))
        make = {
            "p": name,
            "q": name,
            "n": name,
            "t": lambda: words.key_town(rng),
            "x": lambda: words.any(rng, rng.choice(("usual artifact", "tool"))),
            "y": lambda: words.any(rng, "furniture"),
            "b": lambda: words.any(rng, rng.choice(("usual animal", "dog", "bird"))),
            "o": lambda: words.key_org(rng),
            "j": lambda: words.any(rng, "job"),
            "r": lambda: words.any(rng, rng.choice(("room", "building"))),
            "f": lambda: words.any(rng, "usual food"),
            "c": lambda: words.any(rng, "usual animal") + "s",
            "d": lambda: str(rng.randint(4, 20)),
        }
        return {slot: make[slot]() for slot in dict.fromkeys(re.findall(r"\{([a-u w-z])\}", form))}

    def tell(self, rng):
        """A statement and its fact, or None where nothing is left to tell."""
        if self.known and (len(self.known) >= self.keys or rng.random() < self.change):
            line, slots = rng.choice(list(self.known.values()))
        else:
            line = rng.choice(self.lines)
            slots = self.slots(rng, line[1] + "".join(line[2]) + line[3])
        kind, statement = line[0], line[1]
        value = self.words.value(rng, kind)
        key = (statement, tuple(slots.values()))
        again = key in self.known
        self.known[key] = (line, slots)
        text = filled(statement, {**slots, "v": value})
        if again:
            text = rng.choice(("Correction: ", "No, I was wrong: ", "As of today, ", "It has turned out that ")) + text
        elif not self.held and rng.random() < 0.25:
            somebody = lambda: self.words.any(rng, rng.choice(("female", "male")))
            text = contexts.around(text, rng, somebody, held=False)
        key_text = next(slots[m] for m in re.findall(r"\{(\w)\}", line[2][0]) if m in slots)
        return sentence(text), Fact(self, key, key_text, value, extra=(line, slots))

    def read(self, fact):
        self.live[fact.key] = fact

    def ask(self, rng, fact):
        fact = self.live.get(fact.key)
        if fact is None:
            return None
        (_, _, questions, completion), slots = fact.extra
        if rng.random() < 0.35:
            cue = filled(completion, slots)
            if re.search(r"\ba$", cue):
                cue = cue[:-1] + article(fact.value)
            return Ask(cue[0].upper() + cue[1:], fact.value, fact.key_text, raw=True)
        return Ask(filled(rng.choice(questions), slots), fact.value, fact.key_text)
