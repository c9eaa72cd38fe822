"""Sentence forms of open facts: what a sentence says of a key, and how people ask for it.

A relation has a kind of key, a kind of value (`values.py`), statements with {k} and {v}, completions, which end where the value begins, and
questions with {k}. The last statement and the last question of a relation are kept for the check.
"""

from dataclasses import dataclass

from armt_train.tasks.forms_extra import EXTRA_RELATIONS, MORE


@dataclass(frozen=True)
class Relation:
    name: str
    key: str
    value: str
    statements: tuple
    questions: tuple


def relation(name, key, value, statements, questions):
    return Relation(name, key, value, tuple(filter(None, statements.strip().split("\n"))), tuple(filter(None, questions.strip().split("\n"))))


R = relation
RELATIONS = [
    R("birthplace", "person", "town", "{k} was born in {v}\n{k} was born in a village called {v}\n{k} came into the world in {v}\n{k} is a native of {v}\n{k} grew up in {v}", "Where was {k} born?\nIn which place was {k} born?\nWhich village does {k} come from?\nWhere did {k} grow up?"),
    R("residence", "person", "town", "{k} lives in {v}\n{k} moved to {v} last year\n{k} has a small flat in {v}\n{k} now lives in {v}", "Where does {k} live?\nIn which town does {k} live?\nWhat town is {k} living in?"),
    R("job", "person", "job", "{k} works as a {v}\n{k} earns a living as a {v}\n{k} trained as a {v}\n{k} used to be a {v}\n{k} is a {v} by trade", "What does {k} do for a living?\nWhat is the job of {k}?\nWhat work does {k} do?\nWhat is {k} by trade?"),
    R("employer", "person", "company", "{k} works for {v}\n{k} has been hired by {v}\n{k} is employed at {v}\n{k} got a job at {v}", "Who does {k} work for?\nWhich company employs {k}?\nWhere does {k} work?"),
    R("allergy", "person", "food", "{k} is allergic to {v}\n{k} cannot eat {v}\n{k} gets a rash from {v}\n{k} must never be given {v}", "What is {k} allergic to?\nWhat can {k} not eat?\nWhich food must {k} avoid?"),
    R("favourite dish", "person", "food", "{k} likes {v} best\nThe favourite dish of {k} is {v}\n{k} could eat {v} every day\n{k} always orders {v}", "What is the favourite dish of {k}?\nWhat does {k} like to eat?\nWhich dish does {k} always order?"),
    R("drink", "person", "drink", "{k} always drinks {v}\n{k} never leaves the house without {v}\n{k} ordered {v}\n{k} is fond of {v}", "What does {k} drink?\nWhat did {k} order to drink?\nWhich drink is {k} fond of?"),
    R("collects", "person", "plural", "{k} collects {v}\n{k} has a whole room full of {v}\n{k} spends every penny on {v}\n{k} has gathered {v} for years", "What does {k} collect?\nWhat is in the collection of {k}?\nWhat does {k} spend money on?"),
    R("fear", "person", "plural", "{k} is afraid of {v}\n{k} cannot stand {v}\n{k} has nightmares about {v}\n{k} is terrified of {v}", "What is {k} afraid of?\nWhat frightens {k}?\nWhat does {k} have nightmares about?"),
    R("instrument", "person", "instrument", "{k} plays the {v}\n{k} is learning the {v}\n{k} bought a second-hand {v}\n{k} practises the {v} at night", "What instrument does {k} play?\nWhich instrument is {k} learning?\nWhat does {k} practise?"),
    R("language", "person", "language", "{k} speaks {v} at home\n{k} is learning {v}\n{k} taught {v} for ten years\n{k} is fluent in {v}", "Which language does {k} speak?\nWhat language is {k} learning?\nWhich language does {k} know?"),
    R("sport", "person", "sport", "{k} is mad about {v}\n{k} spends the weekends on {v}\n{k} won a medal in {v}\n{k} took up {v} after the accident", "What sport does {k} do?\nWhat is {k} mad about?\nWhich sport did {k} take up?"),
    R("spouse", "person", "fullname", "{k} is married to {v}\n{k} has married {v}\nThe wedding of {k} and {v} was in spring\n{k} is engaged to {v}", "Who is {k} married to?\nWho did {k} marry?\nWhat is the name of the person {k} is engaged to?"),
    R("teacher", "person", "fullname", "{k} was taught by {v}\n{k} learned everything from {v}\nThe teacher of {k} was {v}\n{k} took lessons from {v}", "Who taught {k}?\nWho was the teacher of {k}?\nFrom whom did {k} learn?"),
    R("childhood nickname", "person", "nickname", "everybody calls {k} {v}\n{k} was called {v} as a child\nThe nickname of {k} is {v}\n{k} goes by the name of {v}", "What do people call {k}?\nWhat is the nickname of {k}?\nWhich nickname does {k} have?"),
    R("birthday", "person", "date", "the birthday of {k} is {v}\n{k} was born on {v}\n{k} celebrates a birthday on {v}\n{k} turns thirty on {v}", "When is the birthday of {k}?\nOn which day was {k} born?\nWhat is the date of birth of {k}?"),
    R("birth year", "person", "year", "{k} was born in {v}\n{k} came to the city in {v}\n{k} retired in {v}\n{k} left school in {v}", "In which year was that with {k}?\nWhich year is mentioned for {k}?\nWhat year was it for {k}?"),
    R("phone", "person", "phone", "the number of {k} is {v}\n{k} can be reached at {v}\nCall {k} on {v}\n{k} has a new number, {v}", "What is the phone number of {k}?\nHow can {k} be reached?\nOn which number can I call {k}?"),
    R("room", "person", "roomnumber", "{k} sits in room {v}\n{k} has moved to room {v}\nYou will find {k} in room {v}\n{k} sleeps in room {v}", "In which room is {k}?\nWhich room does {k} have?\nWhat is the room number of {k}?"),
    R("pet", "person", "petof", "{k} has a {v}\n{k} keeps a {v}\n{k} found a {v}\n{k} came home with a {v}", "What animal does {k} have?\nWhich pet does {k} keep?\nWhat kind of animal did {k} find?"),
    R("present", "person", "thing", "{k} got a {v} for Christmas\n{k} was given a {v}\nWe bought a {v} for {k}\n{k} received a {v} as a present", "What was {k} given?\nWhat did {k} get as a present?\nWhich present did {k} receive?"),
    R("lost", "person", "thing", "{k} lost a {v}\n{k} left a {v} on the train\n{k} is looking for a {v}\n{k} cannot find the {v}", "What did {k} lose?\nWhat is {k} looking for?\nWhat did {k} leave behind?"),
    R("subject", "person", "science", "{k} studies {v}\n{k} wrote a thesis on {v}\n{k} gave a lecture about {v}\n{k} has a degree in {v}", "What does {k} study?\nWhich subject did {k} choose?\nWhat was the lecture of {k} about?"),
    R("destination", "person", "country", "{k} is travelling to {v}\n{k} booked a flight to {v}\n{k} spent the summer in {v}\n{k} wants to see {v}", "Where is {k} travelling?\nWhich country does {k} want to see?\nWhere did {k} spend the summer?"),
    R("garden", "person", "flower", "{k} grows {v} in the garden\n{k} planted {v} behind the house\n{k} sells {v} at the market\n{k} waters the {v} every morning", "What does {k} grow?\nWhat did {k} plant?\nWhich plant does {k} look after?"),
    R("illness", "person", "illness", "{k} is in bed with {v}\n{k} has come down with {v}\n{k} was treated for {v}\n{k} suffers from {v}", "What is wrong with {k}?\nWhat does {k} suffer from?\nWhich illness does {k} have?"),
    R("wore", "person", "garment", "{k} wore a {v}\n{k} turned up in a {v}\n{k} bought a new {v}\n{k} borrowed a {v}", "What did {k} wear?\nWhat was {k} dressed in?\nWhich piece of clothing did {k} buy?"),
    R("vehicle", "person", "vehicle", "{k} drives a {v}\n{k} arrived in a {v}\n{k} repaired an old {v}\n{k} came by {v}", "What does {k} drive?\nHow did {k} arrive?\nWhich vehicle does {k} have?"),
    R("dream", "person", "job", "{k} always wanted to be a {v}\nAs a child {k} dreamed of becoming a {v}\n{k} hopes to become a {v}\n{k} would rather be a {v}", "What did {k} want to be?\nWhat does {k} dream of becoming?\nWhat would {k} rather be?"),
    R("place of thing", "thing", "container", "{k} is in the {v}\n{k} is kept in the {v}\nI put {k} into the {v}\n{k} was found in the {v}\nyou will find {k} in the {v}", "Where is {k}?\nWhere is {k} kept?\nWhere did they put {k}?\nIn what will I find {k}?"),
    R("room of thing", "thing", "room", "{k} stands in the {v}\n{k} has been moved to the {v}\n{k} was left in the {v}\nthey carried {k} into the {v}", "In which room is {k}?\nWhere does {k} stand?\nWhere was {k} left?"),
    R("owner", "thing", "fullname", "{k} belongs to {v}\nThe owner of {k} is {v}\n{k} was bought by {v}\n{k} is the property of {v}", "Who owns {k}?\nWhom does {k} belong to?\nWho is the owner of {k}?"),
    R("maker", "thing", "fullname", "{k} was made by {v}\n{k} is the work of {v}\n{v} built {k}\n{v} carved {k} by hand", "Who made {k}?\nWhose work is {k}?\nWho built {k}?"),
    R("price", "thing", "price", "{k} costs {v}\nThe price of {k} is {v}\n{k} was sold for {v}\nthey ask {v} for {k}", "How much does {k} cost?\nWhat is the price of {k}?\nFor how much was {k} sold?"),
    R("colour", "thing", "colour", "{k} is {v}\n{k} was painted {v}\nThe colour of {k} is {v}\n{k} turned {v}", "What colour is {k}?\nWhich colour does {k} have?\nWhat colour was {k} painted?"),
    R("material", "thing", "material", "{k} is made of {v}\n{k} is cut from {v}\nThey made {k} out of {v}\n{k} consists of {v}", "What is {k} made of?\nWhich material is {k} made of?\nOut of what was {k} made?"),
    R("weight", "thing", "weight", "{k} weighs {v}\nThe weight of {k} is {v}\nOn the scales {k} came to {v}\n{k} is {v} heavy", "How much does {k} weigh?\nWhat is the weight of {k}?\nHow heavy is {k}?"),
    R("serial", "thing", "code", "the serial number of {k} is {v}\n{k} has the number {v}\n{k} is listed under {v}\n{k} bears the mark {v}", "What is the serial number of {k}?\nWhich number does {k} have?\nUnder what is {k} listed?"),
    R("code", "lock", "digits", "the code of {k} is {v}\nthe combination of {k} is {v}\nto open {k} one needs {v}\n{k} opens with {v}", "What is the code of {k}?\nWhat is the combination of {k}?\nHow does one open {k}?"),
    R("password", "account", "password", "the password of {k} is {v}\nto log in to {k} use {v}\nthe new password for {k} is {v}\n{k} is protected by the password {v}", "What is the password of {k}?\nHow do I log in to {k}?\nWhich password protects {k}?"),
    R("email", "org", "email", "the address of {k} is {v}\nwrite to {k} at {v}\n{k} answers mail at {v}\nletters to {k} go to {v}", "What is the e-mail address of {k}?\nWhere can I write to {k}?\nAt which address does {k} answer?"),
    R("seat", "org", "town", "{k} has its office in {v}\n{k} is based in {v}\nthe head office of {k} is in {v}\n{k} opened a branch in {v}", "Where is {k} based?\nWhere is the office of {k}?\nIn which town is {k}?"),
    R("founder", "org", "fullname", "{k} was founded by {v}\n{v} started {k} in a garage\nthe founder of {k} is {v}\n{k} is the idea of {v}", "Who founded {k}?\nWho started {k}?\nWhose idea was {k}?"),
    R("director", "org", "fullname", "{k} is run by {v}\nthe director of {k} is {v}\n{v} is in charge of {k}\n{v} took over {k}", "Who runs {k}?\nWho is the director of {k}?\nWho is in charge of {k}?"),
    R("product", "org", "plural", "{k} makes {v}\n{k} sells {v}\n{k} is known for its {v}\n{k} exports {v}", "What does {k} make?\nWhat does {k} sell?\nWhat is {k} known for?"),
    R("founded", "org", "year", "{k} was founded in {v}\n{k} goes back to {v}\n{k} has existed since {v}\n{k} opened its doors in {v}", "When was {k} founded?\nSince which year has {k} existed?\nWhich year does {k} go back to?"),
    R("deadline", "project", "date", "the deadline of {k} is {v}\n{k} must be finished by {v}\n{k} ends on {v}\nwe hand in {k} on {v}", "When is the deadline of {k}?\nBy when must {k} be finished?\nOn which date does {k} end?"),
    R("lead", "project", "fullname", "{k} is led by {v}\n{v} is responsible for {k}\n{v} has taken over {k}\nask {v} about {k}", "Who leads {k}?\nWho is responsible for {k}?\nWhom should I ask about {k}?"),
    R("budget", "project", "price", "the budget of {k} is {v}\n{k} may cost {v}\nthe board gave {k} {v}\n{k} has used up {v}", "What is the budget of {k}?\nHow much may {k} cost?\nHow much money does {k} have?"),
    R("codename", "project", "nickname", "{k} is known inside as {v}\nthe code name of {k} is {v}\n{k} was renamed {v}\nwe call {k} {v} now", "What is the code name of {k}?\nWhat is {k} called now?\nUnder which name is {k} known?"),
    R("meeting time", "event", "time", "{k} begins at {v}\n{k} has been moved to {v}\n{k} starts at {v} sharp\nwe meet for {k} at {v}", "When does {k} begin?\nAt what time is {k}?\nTo what time has {k} been moved?"),
    R("meeting place", "event", "building", "{k} takes place in the {v}\n{k} will be held in the {v}\nwe meet for {k} at the {v}\n{k} was moved to the {v}", "Where does {k} take place?\nWhere will {k} be held?\nTo which place was {k} moved?"),
    R("speaker", "event", "fullname", "the speaker at {k} is {v}\n{v} will open {k}\n{k} is chaired by {v}\nthe guest of honour at {k} is {v}", "Who speaks at {k}?\nWho opens {k}?\nWho is the guest of honour at {k}?"),
    R("bring", "event", "thing", "for {k} bring a {v}\neverybody needs a {v} for {k}\n{k} cannot start without a {v}\ndo not forget the {v} for {k}", "What should I bring to {k}?\nWhat is needed for {k}?\nWithout what can {k} not start?"),
    R("population", "town", "number", "{k} has {v} inhabitants\n{v} people live in {k}\nthe last census counted {v} people in {k}\nthe population of {k} is {v}", "How many inhabitants does {k} have?\nHow many people live in {k}?\nWhat is the population of {k}?"),
    R("famous for", "town", "plural", "{k} is famous for its {v}\npeople visit {k} for its {v}\n{k} lives off its {v}\nthe pride of {k} are its {v}", "What is {k} famous for?\nWhy do people visit {k}?\nWhat is the pride of {k}?"),
    R("river", "town", "river", "{k} lies on the {v}\nthe river in {k} is the {v}\nthe {v} flows through {k}\nthe bridge in {k} crosses the {v}", "Which river flows through {k}?\nOn which river does {k} lie?\nWhat does the bridge in {k} cross?"),
    R("mayor", "town", "fullname", "the mayor of {k} is {v}\n{k} elected {v}\n{v} governs {k}\n{v} has been mayor of {k} for years", "Who is the mayor of {k}?\nWhom did {k} elect?\nWho governs {k}?"),
    R("patron", "town", "plural", "the coat of arms of {k} shows {v}\non the flag of {k} there are {v}\n{k} has {v} on its flag\nthe gate of {k} is adorned with {v}", "What does the coat of arms of {k} show?\nWhat is on the flag of {k}?\nWith what is the gate of {k} adorned?"),
    R("hidden", "thing", "place", "{k} is hidden {v}\nthey buried {k} {v}\n{k} lies {v}\n{k} was discovered {v}", "Where is {k} hidden?\nWhere did they bury {k}?\nWhere was {k} discovered?"),
    R("book author", "book", "fullname", "{k} was written by {v}\nthe author of {k} is {v}\n{v} wrote {k}\n{v} is best known for {k}", "Who wrote {k}?\nWho is the author of {k}?\nWhose book is {k}?"),
    R("book about", "book", "plural", "{k} is about {v}\n{k} tells the story of {v}\nthe subject of {k} are {v}\n{k} describes {v}", "What is {k} about?\nWhat does {k} describe?\nWhat is the subject of {k}?"),
    R("book ends", "book", "town", "{k} is set in {v}\nthe story of {k} ends in {v}\n{k} takes the reader to {v}\n{k} begins in {v}", "Where is {k} set?\nWhere does the story of {k} take place?\nTo which place does {k} take the reader?"),
    R("animal name", "animal", "first", "{k} is called {v}\nthe name of {k} is {v}\nthey named {k} {v}\n{k} answers to the name {v}", "What is {k} called?\nWhat is the name of {k}?\nHow did they name {k}?"),
    R("animal eats", "animal", "food", "{k} eats nothing but {v}\n{k} is fed with {v}\n{k} stole the {v}\n{k} is crazy about {v}", "What does {k} eat?\nWith what is {k} fed?\nWhat did {k} steal?"),
    R("animal sleeps", "animal", "room", "{k} sleeps in the {v}\n{k} hides in the {v}\nthey found {k} in the {v}\n{k} must not go into the {v}", "Where does {k} sleep?\nWhere does {k} hide?\nWhere did they find {k}?"),
    R("gate", "train", "smallnumber", "{k} leaves from gate {v}\n{k} departs from platform {v}\n{k} stops at platform {v}\npassengers for {k} go to gate {v}", "From which gate does {k} leave?\nWhich platform is it for {k}?\nWhere do passengers for {k} go?"),
    R("departure", "train", "time", "{k} leaves at {v}\n{k} is delayed until {v}\n{k} departs at {v}\nthe departure of {k} is at {v}", "When does {k} leave?\nUntil when is {k} delayed?\nWhat is the departure time of {k}?"),
    R("wifi", "org", "password", "the password of the network at {k} is {v}\nguests of {k} log in with {v}\nat {k} the network opens with {v}\nto get online at {k} type {v}", "What is the network password at {k}?\nHow do guests of {k} log in?\nWhat must I type to get online at {k}?"),
    R("version", "software", "version", "{k} needs version {v}\n{k} was fixed in {v}\nwe run {k} in version {v}\n{k} fails with anything older than {v}", "Which version does {k} need?\nIn which version was {k} fixed?\nWhich version of {k} do we run?"),
    R("port", "software", "port", "{k} listens on port {v}\n{k} is reachable on port {v}\nthe port of {k} is {v}\n{k} moved to port {v}", "On which port does {k} listen?\nWhat is the port of {k}?\nTo which port did {k} move?"),
    R("crash", "software", "plural", "{k} crashes on {v}\n{k} cannot handle {v}\n{k} loses all {v}\n{k} chokes on {v}", "What makes {k} crash?\nWhat can {k} not handle?\nWhat does {k} lose?"),
]

# before the last statement and question, which are kept for the check
_more = lambda r: MORE.get(r.name, ((), ()))
RELATIONS = [
    Relation(r.name, r.key, r.value, _more(r)[0] + r.statements, _more(r)[1] + r.questions) for r in RELATIONS
] + [Relation(*r) for r in EXTRA_RELATIONS]
