"""The words and the sentences of `english`, by hand: everyday English in its width."""

LISTS = {
  kind: text.split()
  for kind, text in dict(
    name="""
      Alice Ahmed Maria Peter Yuki Olga Tom Sofia Ravi Lena Carlos Nina Omar Julia Ivan Sarah
      Kofi Ingrid Hassan Chloe Diego Amara Lukas Mei Paul Zoe Miriam Oscar Priya Jonas Fatima
      Victor Elena Samuel Hugo Leila Martin Rosa Yusuf Kate Arthur Mona George Linda Robert
      Susan Michael Daniel Laura Simon Einstein Darwin Mozart Shakespeare Picasso Napoleon
      Newton Beethoven
    """,
    place="""
      London Berlin Paris Madrid Rome Tokyo Vienna Cairo Lisbon Dublin Prague Munich Zurich
      Geneva Boston Chicago Texas California Canada Brazil India China Russia Europe Africa Asia
      America Mexico Chile Kenya Nigeria Sweden Finland Denmark Scotland Wales Ireland England
      Hungary Ukraine Portugal Belgium Amsterdam Brussels Barcelona Milan Venice Naples Budapest
      Athens Ankara Istanbul Canberra Sydney Melbourne Auckland Singapore Seoul Beijing Mumbai
      Delhi Toronto Ottawa Seine Thames Danube Alps
    """,
    noun="""
      apple arm artist autumn baby ball band bank basket beach bed bell bicycle bird boat book
      bottle box boy branch bridge brother building bus butterfly button cake camera candle car
      card castle cat chair child church circle city clock cloud coat coffee colour company
      computer cook corner country cousin cup customer dancer daughter day desk dinner doctor
      dog dollar door dream dress driver ear egg engine evening eye face factory family farm
      father field film finger fire fish flag flat floor flower forest friend game garden gate
      girl glass goat gift grandmother group guest guitar hall hand hat head heart hill holiday
      horse hospital hotel hour house idea insect island job journey key kitchen knife lake lamp
      language law leaf lesson letter library light line lion machine manager map market meal
      meeting message metal minute mirror moment month morning mother mountain mouse museum name
      neighbour newspaper night note number ocean office orange page painter palace paper park
      parliament party path pencil person phone photo piano picture plane planet plant plate
      player poem poet president price prince problem queen question rabbit radio reason
      restaurant result river road rock roof room rose salad school scientist sea season secret
      sentence shelf ship shoe shop sister skirt smile snake song soup spoon square stadium
      staircase star station stone story street student summer sun table tail teacher team
      telephone temple test theatre thing ticket tiger tomato tower town train tree trip uncle
      university valley village visitor voice wall wave week wheel wife window winter wing
      winner woman word worker world writer year zoo spider insect beetle leg body feather hoof
      claw web nest snail jewel crystal mineral gem capital government minister nation
      population mile metre kilo gram degree desert coast harbour monument cathedral gallery
      festival opera bakery pharmacy cinema reader entrance exit basement lift corridor
      colleague boss secretary engineer lawyer designer director gardener nurse
    """,
    adj="""
      able angry beautiful big bitter blue brave bright broken brown busy calm careful cheap
      clean clear clever cold cool cosy curious dark deep delicious different difficult dirty
      dry early easy empty excellent expensive fair famous fast fine free fresh friendly full
      funny gentle golden good great green grey happy hard heavy high honest huge hungry
      important interesting kind large late lazy light little local lonely long lost loud lovely
      lucky modern narrow natural new nice noisy old open orange ordinary pink plain pleasant
      polite poor popular pretty proud public purple quick quiet rare ready real red rich right
      round sad safe serious sharp short shy silent silver simple slow small smart soft special
      square strange strong sudden sunny sweet tall thick thin tiny tired typical ugly unusual
      useful usual warm weak wet white wide wild wise wonderful wooden wrong yellow young
      national official historic central northern southern eastern western ancient royal federal
      federated medieval elegant romantic crowded peaceful charming
    """,
    verb="""
      ask bake be borrow break bring build buy call carry catch change check choose clean climb
      close come cook count cross cut dance draw drink drive eat explain fall feel find finish
      fix fly follow forget get give go grow have hear help hide hold imagine invite jump keep
      know laugh learn leave lift listen live look lose love make mean measure meet mention move
      need offer open order paint pay play prefer promise pull push put read remember repair
      rest ride ring run say see sell send share show sing sit sleep smell smile speak spend
      stand start stay stop study swim take talk teach tell think throw touch travel try turn
      understand use visit wait wake walk want wash watch wear win wish work worry write
    """,
    past="""
      answered arrived asked became began bought brought built called came carried caught
      changed closed cooked counted crossed danced decided discovered drank drew drove ate
      explained fell felt finished forgot found gave got grew heard helped hid invented jumped
      kept knew laughed learned left liked lived looked lost loved made married met moved needed
      opened ordered painted planted played promised pulled ran read received remembered
      repaired rode said sang sat saw sent shared showed slept smiled sold spoke started stayed
      stopped studied swam talked taught thought threw told took travelled tried turned used
      visited waited walked wanted watched won worked wrote
    """,
    adverb="""
      again almost already always away badly carefully certainly daily early easily exactly
      finally gently happily hardly here immediately just late loudly maybe nearly never now
      often once only outside perhaps politely probably quickly quietly rarely really safely
      seldom slowly sometimes soon still suddenly there today together tomorrow tonight twice
      usually very well yesterday everywhere officially actually mostly mainly normally
      currently
    """,
    food="""
      apples bananas beans beef beer biscuits bread butter cabbage carrots cheese cherries
      chicken chips chocolate cream cucumber curry dates eggs fish flour fruit garlic grapes
      grass hay honey ice jam juice leaves lemon lettuce meat milk mushrooms noodles nuts oats
      oil olives onions oranges pasta peas pepper pie pizza plums porridge potatoes rice salad
      salt sauce sausages seeds soup spinach strawberries sugar tea toast tomatoes vegetables
      vinegar water wine yoghurt insects worms
    """,
    job="""
      accountant actor architect baker barber builder carpenter cashier chef cleaner clerk coach
      dentist economist editor electrician engineer farmer firefighter guard guide historian
      journalist judge librarian manager mechanic musician nurse painter photographer pilot
      plumber porter programmer receptionist researcher sailor scientist secretary tailor
      teacher technician translator treasurer vet waiter writer driver
    """,
    colour="""
      amber azure beige black blue bronze brown crimson cream cyan gold green grey indigo ivory
      lilac magenta maroon mint olive orange pink purple red rose scarlet silver teal turquoise
      violet white yellow
    """,
    count="""
      one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
      sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty hundred
    """,
    day="""
      Monday Tuesday Wednesday Thursday Friday Saturday Sunday weekdays weekends
    """,
    month="""
      January February March April May June July August September October November December
    """,
    link="""
      and but because so while although when if or since until unless where
    """,
    near="""
      in at on near behind under over beside above below inside outside between around across
      along beyond through without with from to for by
    """,
  ).items()
}
SENTENCES = (
  'The {adj} {noun} {past} {near} the {noun}.',
  'The {noun} opens at {time}.',
  'The {noun} is open from {time} to {time}, except on {day}.',
  'We close at {time} on {day}, {link} the {noun} is {adj}.',
  'It opens at {time} {adverb}, not at {time}.',
  '{name}, the {adj} {noun} of {nouns}, {food} and {food}.',
  '{name} is the capital of {name}, {link} {name} is larger.',
  "It is {name}, {adverb}: that's where the {noun} sits.",
  'The capital is {name}; many people think it is {name}.',
  '{name} has been the capital since {date}.',
  '{name} works as {a}, {link} {adverb} helps the {job}.',
  '{name} is our {job} ({name} is the {job}).',
  'You will find {name} in room {number}, next to the {noun}.',
  '{name} sits {near} the {noun} on floor {count}.',
  'It is {colour}, {link} sometimes {colour} or {colour}.',
  '{adj} and {colour}, like {a}.',
  'Most {nouns} are {colour}, but some are {adj}.',
  'It eats {food}, {food} and a little {food}.',
  'They mostly like {food} with {food}!',
  'It has {count} legs and {number} {nouns}.',
  'Spiders and {nouns} have {count} legs; {nouns} have {count}.',
  'Hello {name}, how is your {noun} today?',
  'I {past} {a}, {a} and {a}.',
  '{name} said: "{adj} {nouns} never {verb} {nouns}!"',
  "I don't {verb} it, {link} I can't {verb} without {name}.",
  "You're right, {name}'s {noun} isn't {adj}.",
  'Please {verb} the {noun} before {time}.',
  'To {verb} {a}, {verb} the {noun}, {verb} it and {verb}.',
  'First {verb} the {food}, then {verb} it for {number} minutes.',
  'It costs {number} dollars, or ${number} with {a}.',
  'About {number}% of all {nouns} {verb} {adverb}.',
  'The total is {number}, which is {number} more than {number}.',
  'On {date} the {noun} {past} in {name}.',
  '{name} (born {date}) was {a} from {name}.',
  'Why not {verb} {a} instead?',
  'What {a}! We {adverb} {past} it.',
  '{adverb}, nobody {past} the {noun}, {link} {name} {past}.',
  'This is {a}; that was {a}.',
  'Call {name} at {number}-{number}, please.',
  'Write to {word}@{word}.com or see www.{word}.org.',
  'Room {number}, floor {number}: {noun}.',
  '- {a}\n- {a}\n- {food}',
  '1. {verb} the {noun}\n2. {verb} the {food}\n3. {verb} {adverb}',
  'Yes.',
  'No, {adverb}.',
  'Sorry, I {adverb} {past} that.',
  'Ask {name}, the {job}, {link} try {a}.',
  '{word} is {a} that {nouns} {verb}.',
  'A {word} {link} a {word}.',
  '{odd}',
  '{odd} {odd}',
  '{word} = {odd}',
  '[{noun}] {word}/{odd}',
  'f({word}) = {odd};',
  'The code is {odd}.',
  '{name} {name} and {name} {name} {past} {near} {name}.',
  'There are {count} {nouns} and {number} {nouns} {near} {name}.',
  'It is the {adj}, {adj} and most {adj} {noun} {near} the {noun}.',
  'I think that {nouns} {verb} {adverb}, {link} they {verb} {food}.',
  'If you {verb}, {verb} with {a}.',
  'My {noun} is {adj}er than your {noun}.',
  'They are {verb}ing {near} the {noun}, {adverb}.',
  'He {past} her {noun}, she {past} his, and it {past} theirs.',
  'Our {noun} has {adj} {nouns} which {verb} every {noun}.',
  '{adj}',
  '{noun}: {adj}, {number}',
  '{name}',
  '{time}',
  '{number}',
)
