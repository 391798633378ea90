"""Making a model: data, training, scores, publishing. Needs asteroid-waveunet[experiment].

musdb          tracks in MUSDB18's layout, stems or wav; ffmpeg finds what decodes them
datasets       the data sets known by name;  download and unpacking bring them, disk has the room
errata         faults that songs of MUSDB18 are known to have
demo_songs     generated songs with true stems; composition and synthesis make them up
preparation    tracks decoded once;  store  their samples on disk;  splits  which of them validate
segments       pieces of tracks for a DataLoader;  device_store  the same from a GPU's memory
drawing        what random segments are made of;  cutting  cuts and mixes it on the processor
augmentation   gains, signs and so on, by name;  stretching  pitch and tempo
configuration  an experiment's settings;  objectives   losses and schedules by name
training       Asteroid's System on Lightning, to the best model;  validation  its SDR meanwhile
sampling       which segments make a batch;  ranks   what processes that train together tell others
rounds         how long it goes on: patience, the paper's second round;  curves  its table
checkpoints    where it is, on disk;  interruption  signals;  failures  a loss that is no number
averaging      the weights' moving average;  loggers  where curves go;  media  sounds among them
monitoring     what a person hears of a training;  progress  how far it is
evaluation     museval's scores of a track;  estimates  what is scored: models, folders, an oracle
scoring        scores of a data set;  systems  what is scored, their files;  processes  that do it
aggregation    figures of a data set, and a table of them
assessment     scores beside the baselines', and the page;  comparison  two systems, paired
overview       experiments in one table;  costs  what a model costs: arithmetic, time, memory
report         a page to judge a model by;  standings  its tables;  charts  its figures
excerpts       pieces of tracks to listen to;  strips  pictures of them
publishing     a folder for the Hugging Face Hub;  card  its model card;  licences  what it may hold
upload         that folder on the Hub
tf_checkpoint  the reference's checkpoints as models of ours;  tf_bundle reads them
stage          what the stages of a recipe share
figures        the look of the paper's arguments, drawn:  aliasing  of upsamplings,  borders  of
               segments,  additivity  of estimates,  outliers  among scores
"""
