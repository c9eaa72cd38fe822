"""More sentence forms of open facts, in many registers: diary, letter, minutes, report, chat, manual, news, talk.

`MORE` adds statements and questions to relations of `relations.py`, by name; `EXTRA_RELATIONS` are more relations. As
there, {k} is the key, {v} the value, a statement that ends with {v} also serves as a completion, and the last statement
and question of a relation are kept for the check. In openings and endings {n} is somebody who is not asked about.
`MoreValues` makes values of several words.
"""

from armt_train.data.vocabulary import held_out

OPENINGS = (
    "Diary, Tuesday: ",
    "Minutes, item 4: ",
    "From the report: ",
    "Just so you know, ",
    "Breaking: ",
    "Reminder: ",
    "FYI, ",
    "We regret to say that ",
    "When we arrived, we were told that ",
    "What nobody had expected: ",
    "In {n}'s notes I read that ",
    "Years later {n} admitted that ",
    "Before I forget: ",
    "The radio said this morning that ",
    "Correction: ",
    "For those who asked, ",
    "Step 3. Keep in mind that ",
    "Yesterday's paper says that ",
    "If you must know, ",
    "{n} swears that ",
    "Rumour has it that ",
    "My dear {n}, you will laugh, but ",
    "Handover note: ",
    "Once more for the newcomers: ",
)
ENDINGS = (
    ", whatever {n} may tell you",
    ", which is all we know",
    ", so please do not ask again",
    " (this is confirmed)",
    ", though {n} had bet against it",
    ", and that was the end of the matter",
    ", as the neighbours will confirm",
    ", in case anybody wonders",
    ", and not for the first time",
    ", said {n}, and went back to the newspaper",
    ", which made {n} laugh out loud",
    ", and {n} took a photograph",
)

TEXT = """
birthplace
the parish register of {v} has an entry for {k}
{k} left {v}, the place of birth, at the age of six
if you ask {k} about home, the talk always turns to {v}
{k} has not been back to the old family house in {v}
? What is the birthplace of {k}?
? Where does {k} come from?

residence
letters for {k} should be sent to {v}
since the divorce {k} has been renting a place in {v}
{k} is never in the office on Fridays, because the way home to {v} is long
we helped {k} with the move to {v}
? To which town did {k} move?
? Where is the home of {k}?

job
{k} gave up law and became a {v}
on the form {k} wrote "{v}" under occupation
after thirty years as a {v}, {k} still gets up at five
nobody would guess that {k} is a {v}
the family was against it, but {k} was determined to be a {v}
? What is the occupation of {k}?
? How does {k} earn a living?

employer
{k} handed in a notice and starts at {v} in May
{v} has just made {k} a partner
on the badge of {k} it says {v}
{k} has spent nine years with {v}
? At which firm is {k}?
? Whose employee is {k}?

allergy
the school was informed that {k} must keep away from {v}
please leave out the {v}, {k} reacts to it
a single bite of {v} sent {k} to hospital
do not serve {k} anything that contains {v}
? Which food is dangerous for {k}?
? What must not be served to {k}?

favourite dish
when {k} comes to dinner there has to be {v}
for the birthday of {k} we cooked {v}
{k} came all the way only for the {v}
nothing cheers {k} up like {v}
? What should I cook for {k}?
? What does {k} like best to eat?

drink
for {k} it was {v} again, as every evening
the doctor has forbidden {k} to touch {v}
{k} keeps a bottle of {v} in the desk
"The usual?" "Yes, {v} for {k}."
? What is the usual drink of {k}?

collects
the attic of {k} is full of {v}
{k} crossed half of Europe for a pair of {v}
if you see any {v} at the flea market, think of {k}
the insurance would not cover the {v} of {k}
? What should I look out for on behalf of {k}?

fear
{k} will not enter the house because of the {v}
at the sight of {v}, {k} turned pale
ever since childhood {k} has dreaded {v}
do not mention {v} in front of {k}
? What does {k} dread?

instrument
{k} joined the orchestra with a borrowed {v}
the neighbours complain, since {k} practises the {v} after ten
{k} sold the {v} to pay the rent
for thirty years {k} has taught the {v}
? What does {k} play in the orchestra?

language
{k} swears in {v}
to read the letters, {k} took a course in {v}
{k} dreams in {v}
at the border {k} got through with a little {v}
? In which language does {k} dream?

sport
{k} tore a ligament while practising {v}
{k} missed the meeting because of {v}
after the operation {k} had to give up {v}
the whole family of {k} is devoted to {v}
? Which sport did {k} have to give up?

spouse
to everybody's surprise {k} ran away with {v}
{k} met {v} on a night train, and they married within the month
the invitation says that {k} is to marry {v}
{k} and {v} have separated, I am sorry to say
? Who is the husband or wife of {k}?

teacher
whatever {k} knows about painting comes from {v}
{k} owes everything to {v}
{k} spent four winters in the workshop of {v}
at the age of ten {k} was sent to {v} for lessons
? To whom does {k} owe everything?

childhood nickname
at school {k} was known to everyone as {v}
the crew have christened {k} {v}
{k} signs letters with {v}
only the closest friends may call {k} {v}
? How does {k} sign letters?
? By what name is {k} known?

birthday
put it in the calendar: {k}, {v}
{k} will be forty on {v}
we are giving {k} a party on {v}
the passport of {k} gives {v} as the date of birth
? When do we celebrate the birthday of {k}?

phone
if it rings twice, it is {k}, {v}
leave a message for {k} on {v}
{k} only answers on {v}
in an emergency ring {k}, whose number is {v}
? Which number should I ring for {k}?

room
knock at {v} if you want to see {k}
the porter put {k} into {v}
{k} complained about the noise and was given room {v}
the parcel for {k} goes to room {v}
? At which room should I knock to see {k}?

pet
{k} shares the flat with a {v}
the landlord forbids it, but {k} has a {v}
{k} walks a {v} through the park every night
the vet is worried about the {v} of {k}
? With which animal does {k} share a home?

present
for the wedding {k} was given a {v}
when {k} retired, the office clubbed together for a {v}
{k} unwrapped the parcel and found a {v}
I still owe {k} a present, perhaps a {v}
? What did {k} find in the parcel?

lost
has anybody seen a {v}? {k} has been searching all day
{k} put up a notice about a lost {v}
the police returned the {v} to {k}
{k} turned the house upside down for the {v}
? What has {k} been searching for?

subject
{k} changed from medicine to {v}
in the library {k} only ever borrows books on {v}
{k} was made professor of {v}
the first book of {k} was a history of {v}
? In which field does {k} work?

destination
the tickets are booked: {k} is off to {v}
{k} has a visa for {v}
{k} sent us a postcard from {v}
after the scandal {k} fled to {v}
? From which country did {k} send a postcard?

garden
there is not a window box at the house of {k} without {v}
{k} won first prize with the {v}
{k} dug up the lawn and put in {v}
slugs have eaten all the {v} that {k} planted
? With what did {k} win first prize?

illness
the doctor says it is only {v}, but {k} has to rest
{k} is off work with {v}
as a child {k} nearly died of {v}
the trip was cancelled when {k} caught {v}
? What did {k} catch?

wore
we recognised {k} by the {v}
everybody stared at the {v} that {k} had put on
{k} ruined a perfectly good {v}
in the photograph {k} is the one with the {v}
? By what did we recognise {k}?

vehicle
{k} crossed the desert in a {v}
the {v} in front of the house belongs to {k}
{k} won a {v} in the lottery
the police stopped {k} in a stolen {v}
? In what did {k} cross the desert?

dream
at ten {k} told everybody about becoming a {v}
{k} gave up hope of ever being a {v}
if it were not for the money {k} would be a {v}
the parents of {k} had hoped for a {v}
? What would {k} be, if it were not for the money?

place of thing
somebody must have put {k} into the {v}
do not look for {k} on the shelf, it is in the {v}
{k} had been lying in the {v} all along
after use, return {k} to the {v}
you asked about {k}: try the {v}
? Where should I look for {k}?
? Where does {k} belong after use?

room of thing
the movers left {k} in the {v}
there was no space for {k}, so it ended up in the {v}
we keep {k} in the {v} because of the damp
{k} would look better in the {v}
? Where did {k} end up?

owner
at the auction {k} went to {v}
{v} inherited {k} from an aunt
{k} was a gift to {v}
the name engraved on {k} is {v}
{k} has been returned to {v}
? To whom was {k} returned?

maker
experts agree that {k} comes from the workshop of {v}
{k} bears the signature of {v}
it took {v} eleven months to make {k}
{k} is the only surviving piece by {v}
? Whose signature does {k} bear?

price
I paid {v} for {k}, and I would do it again
the dealer wanted {v} for {k}
{k} fetched {v} at the auction
with the discount {k} comes to {v}
? What did the dealer want for {k}?

colour
you cannot miss {k}, it is {v}
{k} has faded to {v}
on the label {k} is described as {v}
somebody had the idea of painting {k} {v}
? How is the colour of {k} described on the label?

material
it is not wood at all, {k} is made of {v}
the museum describes {k} as a piece of {v}
under the varnish {k} turned out to be {v}
a good copy of {k} would also have to be of {v}
? What did {k} turn out to be under the varnish?

weight
it took four men to lift {k}, which weighs {v}
the airline says {k} is too heavy at {v}
with the packaging {k} weighs {v}
the scales showed {v} for {k}
? What did the scales show for {k}?

serial
for repairs of {k} quote the number {v}
stamped on the bottom of {k} is {v}
in the inventory {k} appears as {v}
the label on {k} reads {v}
? What does the label on {k} read?

code
whoever closes up sets {k} to {v}
they changed the combination of {k} to {v}
write it nowhere: {k}, {v}
the four of us know that {k} opens with {v}
after the break-in {k} was given a new code, {v}
? Which number opens {k}?
? What combination was set for {k}?

password
you will need it for {k}: {v}
the intern wrote the password of {k} on a sticker: {v}
until it is changed {k} has the password {v}
I reset {k}, it is {v} now
? What do I type to get into {k}?

email
complaints about {k} go to {v}
to cancel, write to {k} under {v}
{k} can be reached by mail at {v}
on the card of {k} is printed {v}
? What is printed on the card of {k}?

seat
after the fire {k} moved its headquarters to {v}
the only branch of {k} that still exists is in {v}
you will find {k} on the market square of {v}
visitors to {k} have to travel to {v}
? Where do visitors to {k} have to travel?

founder
it was {v} who started {k}, with a loan of two hundred pounds
a statue in front of {k} shows {v}
{k} would not exist without {v}
{v} sold a house to set up {k}
? Without whom would {k} not exist?

director
since the scandal {k} has been led by {v}
{v} signs all the letters of {k}
the board has appointed {v} to lead {k}
the new head of {k} is called {v}
? Who was appointed to lead {k}?

product
half the country buys its {v} from {k}
{k} has stopped making {v}
the first thing that {k} ever sold was {v}
{k} made a fortune with {v}
? With what did {k} make a fortune?

founded
over the door of {k} you can read {v}
{k} burned down in {v}
the charter of {k} dates from {v}
{k} celebrated its jubilee in {v}
? From which year does the charter of {k} date?

deadline
nothing for {k} will be accepted after {v}
we have until {v} to hand in {k}
{k} slipped again and is now due on {v}
the sponsor expects {k} on {v}
? On which day is {k} due?

lead
questions about {k} go to {v}
{k} was handed over to {v} last week
nobody touches {k} without asking {v}
the one to blame for {k} is {v}
? To whom do questions about {k} go?

budget
so far {k} has swallowed {v}
we asked for more, but {k} was granted {v}
the ministry put {v} into {k}
without another {v}, {k} will have to stop
? What was {k} granted?

codename
in the mails {k} is only ever called {v}
so that nobody would guess, {k} was given the name {v}
the file on {k} is labelled {v}
? How is the file on {k} labelled?

meeting time
be there on time, {k} starts at {v}
because of the strike {k} will not begin before {v}
doors open early, but {k} itself is at {v}
tell the others that {k} is at {v} now
? At what hour should I be at {k}?

meeting place
if it rains, {k} will be in the {v}
the hall was booked, so {k} is in the {v}
follow the signs to the {v} for {k}
they squeezed {k} into the {v}
? Where should I go for {k}?

speaker
we are delighted that {v} will speak at {k}
{v} has cancelled, so there will be no speech at {k}
the one who interrupted {k} was {v}
the programme of {k} names {v}
? Whom does the programme of {k} name?

bring
you will not be let into {k} without a {v}
the invitation to {k} says: bring a {v}
at {k} there was a raffle, and the prize was a {v}
somebody left a {v} behind at {k}
? What was left behind at {k}?

population
in winter no more than {v} people stay in {k}
the sign at the entrance to {k} says {v}
{k} has shrunk to {v} souls
with its {v} inhabitants {k} is hardly a town
? To how many has {k} shrunk?

famous for
ask anyone about {k} and you will hear about the {v}
tourists come to {k} to see the {v}
the museum of {k} is devoted to {v}
you cannot leave {k} without having seen the {v}
? To what is the museum of {k} devoted?

river
every spring {k} is flooded by the {v}
to reach {k} you have to cross the {v}
the mills of {k} stood on the {v}
in {k} they used to bathe in the {v}
? By which river is {k} flooded?

mayor
the town hall of {k} was opened by {v}
{k} has named its square after {v}
there were cheers in {k} when {v} was elected
the chain of office of {k} was stolen from {v}
? After whom has {k} named its square?

hidden
after hours of searching we came upon {k} {v}
she had put {k} where nobody would look, {v}
the burglars never found {k}, which was {v}
look {v}, that is where {k} is
if anything happens to me, {k} is {v}
? Where had {k} been put?

book author
the manuscript of {k} was burned by {v}
under a false name {v} published {k}
the critics compared {k} to the work of {v}
for {k} the prize went to {v}
? Who received the prize for {k}?

book about
on the cover of {k} there are {v}
children love {k} because of the {v}
in the second chapter of {k} there is a long passage about {v}
everything in {k} turns on {v}
? What is on the cover of {k}?

book ends
most of {k} was written in {v}
the last scene of {k} is a funeral in {v}
to research {k} the author moved to {v}
{k} opens on a rainy night in {v}
? Where does the last scene of {k} take place?

animal name
on the collar of {k} it says {v}
{k} only comes when you shout {v}
the children have named {k} {v}
the vet's card gives the name of {k} as {v}
? What does it say on the collar of {k}?

animal eats
never leave {v} lying about when {k} is near
{k} was sick after eating {v}
as a reward {k} gets {v}
in winter {k} lives on {v}
? What does {k} get as a reward?

animal sleeps
at night {k} is locked in the {v}
when there is thunder {k} runs to the {v}
{k} has built a nest in the {v}
the children smuggled {k} into the {v}
? Where does {k} run when there is thunder?

gate
attention please: {k} will leave from platform {v}
change of platform: {k} now leaves from {v}
hurry, {k} is about to leave from gate {v}
? From where will {k} leave?

departure
the last call for {k} is at {v}
on Sundays {k} goes at {v}
if you miss {k} at {v}, there is no other
because of snow {k} will not leave before {v}
? At what time does {k} go?

wifi
the sticker on the router of {k} says {v}
visitors to {k} are given the key {v}
to use the printer of {k} enter {v}
? What is on the sticker on the router of {k}?

version
the bug in {k} was introduced in {v}
do not upgrade {k} beyond {v}
the manual describes {k} as of {v}
we rolled {k} back to {v}
? To which version was {k} rolled back?

port
the firewall blocks {k}, so open {v}
in the configuration set the port of {k} to {v}
{k} fails to start, as something else uses {v}
? Which port must be opened for {k}?

crash
the release notes of {k} mention {v}
somebody fed {k} with {v}, and it stopped
the test suite of {k} is full of {v}
? With what was {k} fed when it stopped?

nephew | person | first
{k} has a nephew called {v}
{k} is looking after a boy called {v}
{k} named the first child {v}
the youngest child of {k} is called {v}
{k} has adopted a girl, {v}
? What is the child of {k} called?
? What is the name of the child that {k} looks after?
? Which name did the child of {k} get?

rescued | person | fullname
{k} pulled {v} out of the water
{k} hid {v} in the cellar for two years
when the house burned, {k} saved {v}
{k} gave a kidney to {v}
{k} owes {v} a great deal of money
? Whom did {k} save?
? Who was helped by {k}?
? To whom does {k} matter so much?

stolen | person | thing
{k} was caught with a stolen {v}
{k} confessed to having taken the {v}
{k} is accused of stealing a {v}
in the bag of {k} they found a {v}
? What did {k} steal?
? What was {k} caught with?
? What was found in the bag of {k}?

habit | person | doing
{k} spends every evening {v}
{k} relaxes by {v}
since the strike {k} has lived off {v}
on Sundays {k} can be found {v}
at the age of seventy {k} took up {v}
? How does {k} spend the evenings?
? What does {k} do to relax?
? What did {k} take up?

reason | person | reason
{k} came late because {v}
{k} resigned because {v}
{k} was in tears because {v}
{k} laughed for an hour because {v}
the police came to {k} because {v}
? Why did {k} come late?
? What happened to {k}?
? What was the reason for it with {k}?

bought | person | objects
{k} came back from the market with {v}
in the suitcase of {k} there were {v}
{k} asked for {v}
{k} traded the car for {v}
all that {k} took along was {v}
? What did {k} come back with?
? What was in the suitcase of {k}?
? What did {k} take along?

address | person | address
{k} lives at {v}
you will find {k} at {v}
the taxi took {k} to {v}
the new address of {k} is {v}
{k} grew up at {v}
? What is the address of {k}?
? Where can I find {k}?
? To which address did the taxi take {k}?

office | org | address
the office of {k} is at {v}
{k} has moved to {v}
send the invoice for {k} to {v}
deliveries for {k} go to {v}
? What is the address of {k}?
? Where does the invoice for {k} go?
? To which address are things for {k} delivered?

website | org | url
the site of {k} is {v}
you can book with {k} at {v}
more about {k} can be read at {v}
{k} publishes its timetable at {v}
? What is the web address of {k}?
? Where can I read more about {k}?
? Under which address does {k} publish its timetable?

opening | org | time
{k} opens at {v}
{k} closes at {v} on Saturdays
the lights go out in {k} at {v}
at {k} lunch is served until {v}
? At what time is it at {k}?
? What hour is given for {k}?
? Until when is lunch served at {k}?

staff | org | number
{k} employs {v} people
{k} has {v} members
{k} laid off {v} workers
at the last count {k} had {v} subscribers
? How many people are there at {k}?
? What number is given for {k}?
? How many did {k} have at the last count?

rival | org | company
{k} has been bought by {v}
{k} is being sued by {v}
{k} merged with {v}
{k} lost the contract to {v}
? Which company has to do with {k}?
? Who bought {k}?
? To whom did {k} lose the contract?

mascot | org | animal
the mascot of {k} is a {v}
on the logo of {k} there is a {v}
{k} keeps a stuffed {v} in the lobby
{k} has a {v} on its sign
? What is the mascot of {k}?
? What animal is on the logo of {k}?
? Which animal does {k} have on its sign?

ate at | event | dishphrase
at {k} they served {v}
for {k} the caterer suggested {v}
after {k} there was {v}
the highlight of {k} was {v}
? What was served at {k}?
? What did the caterer suggest for {k}?
? What was the highlight of {k}?

cancelled | event | reason
{k} was cancelled because {v}
{k} began an hour late because {v}
there was a quarrel at {k} because {v}
{k} ended early because {v}
? Why was {k} cancelled?
? What went wrong at {k}?
? Why did {k} end early?

date | event | date
{k} has been put off until {v}
{k} is on {v}
save the date for {k}: {v}
mark {v} for {k}
the date of {k} is {v}
? When is {k}?
? On which date is {k}?
? Until which day was {k} put off?

guests | event | smallnumber
{v} people came to {k}
for {k} we need {v} chairs
there are {v} names on the list for {k}
the number of guests at {k} was {v}
? How many people came to {k}?
? How many chairs are needed for {k}?
? How many names are on the list for {k}?

won by | event | fullname
at {k} the first prize went to {v}
{k} was interrupted by {v}
{v} fainted during {k}
nobody at {k} danced as well as {v}
? Who got the first prize at {k}?
? Who is remembered from {k}?
? Who danced best at {k}?

twin town | town | town
{k} is twinned with {v}
the road from {k} leads to {v}
the nearest hospital to {k} is in {v}
the children of {k} go to school in {v}
? With which place is {k} twinned?
? Where does the road from {k} lead?
? Where do the children of {k} go to school?

tree | town | tree
in the middle of {k} stands an old {v}
the avenue in {k} is lined with {v}
lightning struck the {v} in {k}
{k} takes its name from the {v}
? Which tree is there in {k}?
? What stands in the middle of {k}?
? From which tree does {k} take its name?

dish of town | town | dishphrase
in {k} they eat {v} at Easter
the inn in {k} is known for {v}
visitors to {k} are offered {v}
the speciality of {k} is {v}
? What do they eat in {k}?
? What are visitors to {k} offered?
? What is the speciality of {k}?

saint | town | first
the church of {k} is dedicated to Saint {v}
the ferry of {k} is called {v}
the bell of {k} is called {v}
the giant of the legend of {k} was called {v}
? Which name is given to the bell or church of {k}?
? Which name does one hear in {k}?
? What was the giant of {k} called?

repaired | thing | fullname
{k} was repaired by {v}
{k} was found by {v}
{v} broke {k}
the last to use {k} was {v}
{k} was photographed by {v}
? Who had to do with {k}?
? Who repaired {k}?
? Who was the last to use {k}?

contains | thing | objects
inside {k} they found {v}
{k} was stuffed with {v}
under {k} lay {v}
next to {k} lay {v}
? What was found inside {k}?
? With what was {k} stuffed?
? What lay next to {k}?

borrowed | thing | fullname
I lent {k} to {v}
{k} has been borrowed by {v}
ask {v} to give back {k}
{k} was last seen with {v}
? Who has borrowed {k}?
? Who should give back {k}?
? With whom was {k} last seen?

age of thing | thing | year
{k} dates from {v}
{k} was made in {v}
{k} has been in the family since {v}
the date on {k} is {v}
{k} was stolen in {v}
? From which year is {k}?
? How old is {k}, by its date?
? Since when has {k} been in the family?

rule | thing | doing
{k} must not be used for {v}
{k} is meant for {v}
{k} broke while somebody was {v}
{k} is no good for {v}
? For what is {k} meant?
? For what must {k} not be used?
? For what is {k} no good?

battery | thing | duration
{k} has to be charged every {v}
{k} was missing for {v}
the guarantee of {k} lasts {v}
it took {v} to repair {k}
? How long does it take with {k}?
? How long was {k} missing?
? How long does the guarantee of {k} last?

wait | project | duration
{k} will take another {v}
{k} is late by {v}
we lost {v} with {k}
{k} was stopped for {v}
? How long will {k} take?
? By how much is {k} late?
? For how long was {k} stopped?

problem | project | reason
{k} was stopped because {v}
{k} is late because {v}
we nearly gave up {k} because {v}
{k} became famous because {v}
? Why was {k} stopped?
? What went wrong with {k}?
? Why did {k} become famous?

goal | project | doing
the aim of {k} is {v}
{k} began with {v}
most of the money for {k} went into {v}
{k} ended in {v}
? What is the aim of {k}?
? With what did {k} begin?
? In what did {k} end?

written in | book | language
{k} was first written in {v}
{k} has been translated into {v}
the only copy of {k} is in {v}
the notes in the margin of {k} are in {v}
? In which language is {k}?
? Into which language has {k} been translated?
? In what language are the notes in the margin of {k}?

hero | book | fullname
the hero of {k} is called {v}
in {k} the murderer turns out to be {v}
{k} is dedicated to {v}
the translation of {k} is by {v}
? Which person is connected with {k}?
? Who is the hero of {k}?
? By whom is the translation of {k}?

shelf | book | container
{k} lies in the {v}
she hid {k} in the {v}
between the pages of {k} I found the key of the {v}
a copy of {k} was discovered in a {v}
? Where is {k}?
? Where did she hide {k}?
? In what was a copy of {k} discovered?

animal from | animal | town
{k} was bought in {v}
{k} ran away and was found in {v}
{k} comes from a farm near {v}
they took {k} to a clinic in {v}
? Where does {k} come from?
? Where was {k} found?
? Where was {k} taken?

animal fear | animal | plural
{k} is afraid of {v}
{k} barks at {v}
{k} chases {v}
{k} has swallowed two {v}
? What is {k} afraid of?
? What does {k} chase?
? What has {k} swallowed?

animal price | animal | price
they paid {v} for {k}
for {k} somebody offered {v}
the operation of {k} cost {v}
{k} won {v} in a race
? How much money is it for {k}?
? What was paid for {k}?
? How much did {k} win?

via | train | town
{k} goes by way of {v}
{k} stops in {v} today
{k} was held up in {v}
for {k} you change in {v}
? By way of which place does {k} go?
? Where does {k} stop?
? Where was {k} held up?

driver | train | fullname
{k} is driven by {v}
the one who missed {k} was {v}
{v} was the only passenger on {k}
on {k} I sat next to {v}
? Who was on {k}?
? Who missed {k}?
? Next to whom did I sit on {k}?

left on | train | thing
somebody left a {v} on {k}
{k} was stopped by a {v} on the line
on {k} they found a {v}
{k} carries nothing but a {v}
? What was left on {k}?
? What was found on {k}?
? What does {k} carry?

maintainer | software | fullname
{k} is maintained by {v}
the bug in {k} was found by {v}
{v} wrote {k} in a weekend
releases of {k} are signed by {v}
? Who maintains {k}?
? Who found the bug in {k}?
? By whom are releases of {k} signed?

host | software | host
{k} runs on {v}
{k} was moved to {v}
the logs of {k} are on {v}
{k} cannot reach {v}
? On which machine does {k} run?
? Where are the logs of {k}?
? Which machine can {k} not reach?

file | software | path
the settings of {k} are in {v}
{k} writes its log to {v}
if {k} hangs, delete {v}
{k} keeps its data under {v}
? Where are the settings of {k}?
? Which file must be deleted if {k} hangs?
? Where does {k} keep its data?

ticket | software | code
the bug in {k} is tracked as {v}
{k} stops with error {v}
the fix for {k} is in {v}
{k} prints {v} and exits
? Under which number is the bug in {k} tracked?
? With which error does {k} stop?
? What does {k} print?

recovery | account | objects
the hint for {k} is a picture of {v}
the security question of {k} is about {v}
to unlock {k} think of {v}
? What is the hint for {k}?
? Of what should I think to unlock {k}?
? What is the security question of {k} about?

user | account | fullname
{k} is used by {v}
{k} was locked by {v}
the last to log in to {k} was {v}
{k} is registered in the name of {v}
? Who uses {k}?
? Who locked {k}?
? In whose name is {k} registered?

key place | lock | place
the spare key of {k} is {v}
whoever needs the key of {k} finds it {v}
they hid the key of {k} {v}
I left the key of {k} {v}
? Where is the spare key of {k}?
? Where did they hide the key of {k}?
? Where does one find the key of {k}?

behind | lock | objects
behind {k} there are {v}
when they opened {k} they found {v}
{k} protects nothing but {v}
all that was stolen from {k} was {v}
? What is behind {k}?
? What was found when {k} was opened?
? What was stolen from {k}?

keyholder | lock | fullname
the only one who can open {k} is {v}
the key of {k} is with {v}
{v} forgot to close {k}
{k} was forced by {v}
? Who can open {k}?
? Who has the key of {k}?
? Who forced {k}?
"""

GERUNDS = (
    "repairing mending polishing drawing painting carving counting selling sorting restoring copying "
    "photographing cleaning watching feeding catching breeding growing planting cooking baking pickling "
    "smuggling carrying moving hiding burying chasing studying describing measuring testing weighing building "
    "stacking shooting racing stuffing dyeing stitching knitting folding printing reading translating "
    "cataloguing rescuing training hunting "
).split()
STREETS = (
    "Street Lane Road Square Avenue Terrace Row Hill Court Gardens Alley Quay Walk Drive Crescent Close Passage Vale"
).split()
NUMBERS = "two three four five six seven eight nine ten eleven twelve fifteen twenty thirty forty".split()
UNITS = "minutes hours days weeks months years".split()


class MoreValues:
    """Values of several words, for `Words`: what it draws from word lists keeps the split."""

    def own(self, rng, words):
        """One of `words` that belongs to the split, or any where it has none."""
        return rng.choice([w for w in words if held_out(w) == (self.split == "heldOut")] or list(words))

    def noun(self, rng):
        return self.pick(
            rng, "usual artifact", "usual artifact", "usual animal", "usual food", "tool", "instrument", "garment"
        )

    def value_doing(self, rng):
        return f"{self.own(rng, GERUNDS)} {self.value_plural(rng)}"

    def value_reason(self, rng):
        form = rng.choice(
            (
                "the {a} had been stolen",
                "there was {s} in the {c}",
                "the {a} fell into the {c}",
                "somebody had painted the {a} {o}",
                "the {b} had eaten the {f}",
                "{p} had lost the {a}",
                "{p} brought a {b}",
                "the {r} was full of {bs}",
                "{p} set fire to the {a}",
                "the {f} had gone bad",
                "the {b} had escaped",
            )
        )
        return form.format(
            a=self.noun(rng),
            s=self.pick(rng, "usual substance"),
            c=self.pick(rng, "container"),
            o=self.value_colour(rng),
            b=self.pick(rng, "usual animal", "bird", "dog"),
            f=self.pick(rng, "usual food", "fruit"),
            p=self.first(rng),
            r=self.pick(rng, "room"),
            bs=self.value_plural(rng),
        )

    def value_objects(self, rng):
        kind = rng.randrange(3)
        if kind == 0:
            return f"{rng.choice(NUMBERS)} {self.value_plural(rng)}"
        if kind == 1:
            return f"{self.value_plural(rng)} and {self.value_plural(rng)}"
        return f"{rng.choice(NUMBERS)} {self.pick(rng, 'adjective')} {self.value_plural(rng).split()[-1]}"

    def value_dishphrase(self, rng):
        food = self.pick(rng, "dish", "usual food", "fruit", "fish")
        other = self.pick(rng, "usual food", "fruit")
        return food if rng.random() < 0.3 or food == other else f"{food} with {other}"

    def value_address(self, rng):
        street = self.own(rng, STREETS)
        name = self.invented(rng) if rng.random() < 0.4 else self.pick(rng, "last", "flower", "tree").title()
        return f"{rng.randint(1, 180)} {name} {street}"

    def value_url(self, rng):
        domain = f"{self.invented(rng).lower()}.{rng.choice(('org', 'com', 'net', 'eu', 'example'))}"
        return f"{domain}/{self.noun(rng).replace(' ', '-')}"

    def value_host(self, rng):
        return f"{self.noun(rng).replace(' ', '-')}-{rng.randint(1, 40):02d}"

    def value_path(self, rng):
        folder = f"{rng.choice(('/etc', '/var/lib', '/srv', '/opt'))}/{self.invented(rng).lower()}"
        return f"{folder}/{self.noun(rng).split()[-1]}.{rng.choice(('conf', 'log', 'db', 'json'))}"

    def value_duration(self, rng):
        return f"{rng.choice(NUMBERS)} {rng.choice(UNITS)}"

    def value_animal(self, rng):
        return self.pick(rng, "usual animal", "animal", "bird", "fish")


def _read(text):
    """Blocks of a header, statements, and questions that start with "? "."""
    more, extra = {}, []
    for block in text.strip().split("\n\n"):
        header, *lines = block.split("\n")
        statements = tuple(line for line in lines if not line.startswith("? "))
        questions = tuple(line[2:] for line in lines if line.startswith("? "))
        if "|" in header:
            name, key, value = (part.strip() for part in header.split("|"))
            extra.append((name, key, value, statements, questions))
        else:
            more[header] = (statements, questions)
    return more, tuple(extra)


# {relation: (statements, questions)} and (name, kind of key, kind of value, statements, questions)
MORE, EXTRA_RELATIONS = _read(TEXT)
