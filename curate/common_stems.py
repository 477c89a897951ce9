"""How much common English stems say of what a text is about: words of a benchmark that are frequent everywhere.

A stem is a word's first five letters. One that stands in a share r of stretches of 25 words weighs
ln(1 / r) / ln(5000), here rounded to tenths; stems of 0.9 and more are left out, and so is what stood in fewer than
six stretches. Counted over the English messages of OASST1's validation set, the seed tasks of self-instruct, and the
explanations of ECQA, QASC, StrategyQA and Sensemaking in FLAN's chain-of-thought files.
"""

TENTHS = {
    1: """
a and in is n of the to
""",
    2: """
are b can for it nopti sente that you
""",
    3: """
an as be by c d do e f from g h have he i if make no not on one or s sense this was what which with your
""",
    4: """
about again all also anima at but commo could does energ follo food gener get has help his how human inter into learn
like many may more most my new organ other peopl perso place plant produ she so some speci state such t than their
them there these they time two up use used water we when where will would yes
""",
    5: """
after allow anoth any aroun based becau becom been befor being below betwe body build calle canno car cause cells
chang chara chemi child choos city class code color compa compl compu consi conta contr count creat data day devel did
diffe direc doesn don down drink durin each earth eat elect every examp exper feel find first form found frien funct
game give go goes good great had heat her here high home house howev impor inclu incre infor its just keep know known
langu large let life light likel live livin locat logic long m made me means might model much need nonse numbe occur
often only our out over own part pick play playe popul power proce progr prote provi put quest re relat requi respo
resul retur see set shoul small someo somet start store syste take techn then thing throu too train trans type under
us using usual value very want way well were while who witho work world write years
""",
    6: """
abili able acces achie actio activ adapt add addit adult advan ai air alcoh algor alter alway am ameri amoun analy
answe appea appli appro area arrow art assis attac avail avera avoid away back bacte bad basic begin behav belie best
bette big black block blood book both break breat bring busin buy calcu cance capab carbo case cat cell cente certa
chall check choic chris circu clean close cloth cold colle come comes comma commu compe compi compo conce condi conne
conse const consu conte conti conve cooki cover criti cross curre custo cycle damag dange days death decis deep defin
depen descr desig detai deter didn diffi disco disea distr docum dog dogs doing done drive due easy eatin effec effic
egg eggs else end engin engli enjoy enoug enter envir even event exerc exist expla explo facto famil fat featu feeli
feet femal ferti few field fight fish fit floor flowe focus force free front fun fungi fur games gas germa getti given
going gover green groun group grow growt habit hair hand happe hard havin head healt heart helps highe him histo hypot
ice ident image impro indiv influ input insec insid insta inste instr inten inves invol issue james john kept key kind
kitch knowl lack land last layer lead leave left lengt less level libra limit list liste littl lives local longe look
looki lot love machi main major makes makin male mamma man marke mater matte medic membe memor metho micro milli molec
money mount move movem movie multi music must name natio natur near neces neede needs netwo never next night non norma
north now objec ocean off offer offic old once open opera optio order origi outsi oxyge paper park parti party perfo
phone photo physi plane playi pleas point polic posit possi poten pract prese presi press print proba probl proje
prope publi pytho quali quick rando range reach read real reali reaso red reduc refer regul relax remem repro resou
resta right river role room run runni salt same say schoo scien scrip sea secon secur selec self serve servi sever
sexua shape short show side signi simil simpl since size skill skin sky sleep snake socia solut sound sourc south
space speak speed sperm stand stati stay still stop story stree stron struc stude study subst succe sun sunli super
suppl suppo sure surfa survi sweat table takes teach team tell tempe text th thems think those thoug three times toget
took tool tools top trave treat tree trees true try tv types typic unite unive until user uses varia vario ve veget
video virus visit walk wante war warm washi watch ways weigh went why windo withi woman words worki works writi x year
yours
""",
    7: """
above absor accom accor accou accur acid acids acros act actua addre adver affec afric age agent alone along alrea
amphi ancie anyth apart app apple apply archi areas argue argum army array arriv arter artic ask assoc assum ate atmos
atten attra austr authe autho autom aware babie baby backg balan ball band barna base baseb battl beach bears beaut
bed bedro bees began behin belon benef bigge bike bill billi biolo biome bird birds birth bit bites blue board bodie
books bored born bottl bough box brain branc brand bread brigh briti broke broth built bus butte cabin calif call
canad capac capit captu card care caref carry cars cases catch cats celeb cellu centr centu chain chair chanc chann
charg chat chatg chees chesh chick chine chlor chrom churc civil claim clear clima cloud co coast coffe colla colum
com combi comfo comin comme commi confi confu cook cooke copy corne corre cost cours court cpu cream crimi crypt cryst
cultu cup cut daily dance date de dead dear decid decre def defen degre demon depar deriv deser desir desk destr detec
devic die died digit dinne diplo discu dish disne displ dista diver divid divis dna docto door dream drivi drunk dry
dust early easie easil echin econo ecosy educa effor eithe eleme eleph email emerg emoti emplo encou engag ensur entir
epide equal error espec essen estab estim ethic eukar europ evalu evapo ever evide evolu evolv excep excha excit excre
execu expan expec expen expos expre exten extra extre eye eyes face fact fall falli falls false famou far farm fast
faste fathe favor fear feder ferns figur file files fille film final finan findi finge finis fire five flow fly footb
fores forma forme forms forwa fossi four frame franc frenc frequ fresh fridg frogs fruit fuel full furth futur gain
galax gamet garag garde gathe gene genes genet georg gets girl gives glass globa gluco goal goals god gone gonna got
grand graph grass greek groce growi guide guita handl hands happi happy hardw harm harmf harry hear heavy heigh hello
helpf hey hi highl himse hold holid honey hope hormo horse hospi host hot hotel hour hours html https hurt hydra hydro
idea ideas ii illeg imagi immun impac imple impos india infec ingre initi injur inspi insul integ intel intro inver
islan isn items itsel j jail japan javas job journ json julie jump justi k keepi keeps kids kill kille king kingd l
lake late laugh law laws leads least led legal legs lepto lette lie line liqui ll loose loss lost loved low lower
lunch lungs maint mall manag manuf march marij marin mark mass maste match math mathe maxim mean meani measu meat
mecha media meet meeti menta messa metab metal mexic michi middl miles milit milk mind minim minut missi mitos mixtu
moder modif modul mollu month moon moral morni mostl mothe motio motiv mouth movin muscl museu mutat named nativ negat
neigh nervo neura neuro noise note nucle numer nutri o obser offsp oil onlin oppos optim orang orbit outco outpu oven
overa owner p paid pain paint pan paras paren parts pass passe passi past path patie patte pay pc peace peach peppe
per perfe perio permi persp pet philo phras pictu piece pizza plan plann platf plays pocke polit polle pollu post
potat pre preci predi prefe prepa preve previ price prima prime princ prior profe proka promp proto prove psych purch
purpo quant quite r race radia radio rain raise rapid rate rathe react readi ready reall recei recog recom recor refle
refri regar regio relea relie relig remai remov repai repea repla repor repre reque resea resis resol respe respi rest
revie revol rewar rich ride rise road rock roman romeo round row rule safe said salmo sampl satel satis save scale
scene scp scree searc seaso secre secti seeds seems seen segme senso separ seque serie sets setti sex shake shall
share shark sharp shelf shell shelt ship shoes shop shopp showe shows signa singl sit situa six slow smart smell smoot
socie softw soil solar soldi solid solve song soon sorry spend spent spiri spong sport sprea squar stage star stars
statu step steps stick stone stori strat strea stren stres strin studi style subje suffe sugar sugge summa summe surro
sweet swim symbo symme tail taken takin talk talki tall targe task tasks taste teams teeth telev tend term terri test
testi thank theat theor thick third thous threa throw thumb tips tired tissu title today topic total touch towar town
toy track tradi trail trip trust tryin turn turne u ultim uniqu units updat usefu utili v vacat varie vary vascu vecto
vehic veins veloc versi verte view views villa viole visua walki wall walls wants waste weapo wear weath web websi
whale wheth white whole wide width wife willi willo win wind winte won wonde word worke worth writt y yard yeah yet
york young
""",
    8: """
abdom abund accel accep accid ackno acqui actor actre ad added addin adjus adven advic advoc aerob afrai agenc aggre
ago agree agric ahead aid aircr aired airpo album alexa algae align alive aller alley almos alpac alpha altho alveo
amazi amend among ancho andro anemi angel anger annel antar antib antig anxie anyon api apolo appre apps aquat arcti
arms arran arres arthr artif artis asexu asia asked askin aslee aspec assem asser asses astro atf athle atlan attem
attri audie audio autum award babys backb backp backy bag baked bakin bald ban banan bank bar barbe bark barn basem
baske batch bath bathr batte bc beans bear beat becam beer belov bend berli besid beyon bias biase bicyc billy bioae
biodi bite blade blank blend blind boat boats bob boile bonds bone bones booth borde bot botto bound bowl boy brack
brail brazi breed brick bridg brief broad broug brown brows brush budge bug bulle burni burro bushe butto buyin cable
cacti cake calen calls calor came camer campa candi candy capta cards caree carol carri carro cash cast catal categ
catho caugh causi celle chamb chapt charl charm chatb chess china choco chopp chord choru chose cigar circl citie
citiz clari click clien climb clock club clust coach coal coat codin col colde colon compr concl condu confe confl
confr conif cons consc conso consp cool coole cooli cools copie coral corn corpo costs couch coupl cow cows crack
crash credi crime crisp croco crowd cruci crust cry cupbo curio curve cutti cypre dairy dakot dark datas datin daugh
deadl deal debat debug decem decen decla decom decor dedic deepe defea defec dehyd delic deliv delta democ dense densi
deoxy deple depos depot depre desce despi desti diagn dialo dicti diet diffu diges dilat dimen dioxi dirt dirty disap
dishe dishw disor dispe disso disti dolla dolph domin donat doors dorma doubl dough drank draw drawe dress drone drop
dropp drove drug drugs ducks dynam eagle earli ears ease east easte eaten eats edge edibl editi eight elabo eleva
elimi embar embry emiss empat empir empty en enabl enclo encod ended endin ends enemi enemy engla enhan entit enzym
episo equat equip equiv escap etc eveni exact exami excel exces exfol exhau exter extin facil facts failu fair faith
fake falsi fan fanta farme fasci fatig fats fatty feath febru feed feedb feels felt ferma ferme fever fi fiber ficti
fill films filte finds fine firea fishi fix fixed flash flat flavo flexi fligh float flori flowi fluid flyin font
foods foole foot forei forev forge formi formu fox fps fract frank freed freez frust fully fund funer fungu funny
furni fuse gamin garba garli gases gastr gave genom gentl genus geolo ghost giant gift gills giraf girls givin glad
gland goats godot golde goodb goods googl grade gradu grain gramm grape grapt gravi greet grill grown grows guard
guida gun gym half hall hallo hambu hang harde harve hat hawai heada heade headq heard heari heati heave heavi hedge
held helpe helpi hemis hidde hide highw hike hikin hippo hit hitle hiv hocke hole holes holy homes homog hones honor
hopit hosti huge hummi humor hundr hunge hungr id ideal ignor illin illne illus immed impli impre impul inch inche
incom incor indep index indic indus infer infin infla infos inher init innov inorg inser insig insti insur int inven
iron islam itali item jane java jelly jet jewis jit jobs joe join joint joke joy js juice jumpe jumpi keras keybo
keyho keys kicke kidne killi kilom kinem kinet knew knife knowi knows korea kunji la label labor lacto landl lands
lapto later launc laund lawn lawye lay layin leade leadi leagu leavi leech leg lemon lesso lever liber licen lifet
likes limbs lines link linke lion lions lipid lists liter lived lo log londo looks loop los lose losin lots loud loyal
luck luna lung macro magaz magic magne mail mainl malbo manip manua map margi markd marri mars marti massa massi mate
matin max maybe mayon meal meant medit mediu memoi men menti mercu merge meter mid migra mike mile min minec miner
minis minor mirro mista mix mnemo mobil modal mode moist momen monit monke monta mood motor mouse moves mph murde
mushr musli myste nails names narro nearb neare neck nerve news newsp nice nietz nitro node none nor nose notes nothi
notic notin novel novem np nudit num obtai occup offen oh ok okay older olive olymp ones onion onto opena opene openi
opini oppon oppor orchi outdo outer outli ovari overc overl overw owned pacif packa page pales parag paral param parke
parki partn passa pasta paul pen penci perce perma persi pesti ph pheno phero phylu piano picni pillo pirat plain
plans plasm plast plate platy plent plot poem poiso polar polli pool poor posse pot potte pound preda pregn prehi
prett prey pride priso priva profi promi promo proof propo pros proti proud pull punis purpl purse pursu push putti
puzzl px pygam q quart queen quiet rabbi rains ram ran ratin raw rays reade recen recep recip recon recov recre recur
recyc regro reinf relev relia reloc remot repet repli reply repti repub resid restr retai retin reven rever ribos rice
richa ridin ring risk rober robot rocks rocky rode rooms root roots rope rotat route routi ruler rules runs runti
russi rust sadne safet sagit saint salad salam sale sales saltw sam san sand sandw sarah sat satur sauce sausa savin
saw scan scatt scena sched score screa screw sdl sdr seals seas seat sedim seed seein seek seeki seem selen sell selli
sells send sensi sent serio sessi settl seven shari shed shine shirt shive shoe shops shot shutt sick sides sight sign
silic silve simul singe sink siste site sites sitti skewe slide slot slowl smile smoke smoki snack snail snow socce
sodiu soft sold somew son songs sort sorte soup spagh spain span spare spark spart spect speec spell spide spina split
spoke spoon spore spray sprin stabi stabl stadi stain stake starf stayi std steel stems steve stimu stock stoma stopp
stops stora stove strai stran strik strip strok strug stuck stuff sub subwa sudde suici suit suita suite sulfu sum
sunny surpr surve susta swall swamp swimm swiss switc sword sympt synta synth taleb taugh tax tea tech telep teles
telli templ tempo ten tenni tensi tenso termi terms terra tests tetra texas textu theme thera therm thin thou threw
thy thyro ticke tiger tight tiny toads toast tobac toile token told tomat tone tooth torto touri tower toxic trade
traff tragi trait trash trial tried troll troph tropi troub truly truth tube tumor turke tutor ui uk un unabl unfor
unifo union unit unlik uploa upon urban urine url usa usage users uv valid valle vapor var vast vegan verif verse
vesse via vibra victo viewe viola virgi virtu visib visio vitam vocab voice vomit vote vulne w wait waiti walke walle
warmt warri wars wash washe wasn wave waves weari week weeke weeks welco west weste wet wetla whate wheel whose wi
widel wild wine wings wish women wood woody wore worms worn wrong wrote www wyomi yello yeste youtu z zeala zero zone
zoo zygot
""",
}
"""Stems by their weight in tenths."""
