#include "config/foreign_keys.hpp"

#include <algorithm>
#include <cctype>

// What keys and options are called elsewhere. The names are plain: without capitals, hyphens and
// underscores.
namespace th::config {

namespace {

constexpr ForeignName kKeys[] = {
    {"train.epochs", " epoch numepochs numtrainepochs maxepoch maxepochs nepochs afterepochs "},
    {"train.max_steps", " steps trainsteps numsteps maxupdate maxupdates totalsteps iterations "},
    {"train.micro_batches",
     " gradientaccumulationsteps gradientaccumulation gradaccum accumcount updatefreq "
     "optimizerdelay accumulate "},
    {"train.gradient_clip", " clip clipnorm gradclip maxgradnorm gradientclipping clipgradnorm "},
    {"train.label_smoothing", " smoothing labelsmoothingfactor "},
    {"train.valid_every_steps",
     " evalsteps evalinterval evalevery validfreq validsteps valinterval "
     "validateinterval "},
    {"data.batch_size",
     " batch minibatch maxsentences bs perdevicetrainbatchsize trainbatchsize "
     "trainmicrobatchsizepergpu microbatchsize "},
    {"data.batch_tokens", " maxtokens tokensperbatch minibatchwords "},
    {"data.max_length", " maxlen maxseqlen maxseqlength maxsequencelength seqlen blocksize "},
    {"data.max_source_length", " maxsrclen srcseqlength maxsourcepositions "},
    {"data.max_target_length", " maxtgtlen tgtseqlength maxtargetpositions "},
    {"data.num_workers", " workers dataloadernumworkers preprocessingnumworkers "},
    {"data.vocab_size", " vocab vocabsize srcvocabsize tgtvocabsize dimvocabs "},
    {"data.min_freq", " minfrequency srcwordsminfrequency wordminfrequency "},
    {"data.train_source", " trainsrc trainsets trainpref traindoc srctrain datadir dataset "},
    {"data.train_target", " traintgt trainsum tgttrain "},
    {"data.valid_source", " validsrc valsrc validsets validpref devsrc "},
    {"data.valid_target", " validtgt valtgt devtgt "},
    {"data.test_source", " testsrc testsets testpref "},
    {"data.test_target", " testtgt "},
    {"data.joint_vocabulary", " joineddictionary sharevocab "},
    {"model.d_model",
     " hiddensize embeddim embdim embeddingdim dim dimemb width dembed encoderembeddim rnnsize "},
    {"model.num_heads",
     " heads head nhead nheads numhead numattentionheads attentionheads encoderattentionheads "
     "transformerheads "},
    {"model.num_encoder_layers",
     " layers layer numlayers nlayers numhiddenlayers encoderlayers enclayers encdepth depth "},
    {"model.num_decoder_layers", " decoderlayers declayers decdepth "},
    {"model.d_ff",
     " ffn ffndim ff dimfeedforward intermediatesize encoderffnembeddim encoderffndim "
     "transformerff transformerdimffn "},
    {"model.dropout", " dropoutrate dropoutprob hiddendropoutprob transformerdropout "},
    {"model.position",
     " postype positionalencoding positionencoding positiontype positionembeddingtype "},
    {"model.encoder_attention", " encattn "},
    {"model.decoder_attention", " decattn "},
    {"model.cross_attention", " crossattn "},
    {"model.attention_window", " windowsize slidingwindow "},
    {"model.activation", " activationfunction activationfn hiddenact ffnactivation "},
    {"model.norm", " normalizebefore prenorm encodernormalizebefore normfirst "},
    {"model.tie_embeddings",
     " tiewordembeddings sharedembeddings shareallembeddings shareembeddings tiedembeddings "
     "tiedembeddingsall "},
    {"model.gradient_checkpointing",
     " usecheckpoint activationcheckpointing checkpointactivations gradientcheckpoint recompute "},
    {"optimizer.lr", " learningrate baselr "},
    {"optimizer.name", " optim optimizer "},
    {"optimizer.weight_decay", " decay wd l2 "},
    {"optimizer.beta1", " betas adambetas adambeta1 "},
    {"optimizer.beta2", " adambeta2 "},
    {"optimizer.eps", " epsilon adamepsilon adameps "},
    {"schedule.name", " scheduler lrscheduler lrschedulertype decaymethod "},
    {"schedule.warmup_steps",
     " warmup warmupsteps warmupnumsteps numwarmupsteps warmupupdates lrwarmup "},
    {"precision.dtype", " fp16 bf16 amp half halfprecision mixedprecision "},
    {"zero.stage", " zerostage zerooptimization mode sharding "},
    {"zero.offload_optimizer", " cpuoffload offload "},
    {"comm.backend", " distbackend distributedbackend ddpbackend "},
    {"run.output_dir",
     " checkpointdir outputdir outdir output out savedir savemodel logdir tensorboarddir "},
    {"run.device", " gpu cuda cpu nocuda "},
    {"run.attention", " attnimpl attnimplementation flashattention "},
    {"run.max_minutes", " timelimit maxtime "},
    {"checkpoint.resume", " resumefrom resumefromcheckpoint restorefile trainfrom continue "},
    {"checkpoint.init_from",
     " pretrained pretrainedmodel finetune finetunefrommodel loadfrom modelnameorpath load "},
    {"checkpoint.every_epochs", " saveevery saveinterval savefreq saveepochs savestrategy "},
    {"checkpoint.every_steps",
     " savesteps saveintervalupdates savecheckpointsteps saveeverysteps checkpointevery "},
    {"checkpoint.keep_last", " savetotallimit keeplastn keeplastepochs keepcheckpoint keeplast "},
    {"checkpoint.keep_best", " loadbestmodelatend keepbestcheckpoints "},
    {"valid.patience", " earlystopping earlystop earlystoppingpatience "},
    {"valid.metrics", " metric evalmetric validmetrics metricforbestmodel "},
    {"monitor.log_every_steps", " loggingsteps logsteps loginterval dispfreq reportevery "},
    {"monitor.progress", " tqdm progressbar verbose quiet silent "},
    {"profile.enabled", " enableprofiler profiler profile profiling "},
    {"decode.beam", " beamsize numbeams "},
    {"decode.max_length", " maxnewtokens maxdecodesteps generationmaxlength "},
    {"decode.length_penalty", " lenpen alphalength normalize "},
    {"decode.no_repeat_ngram", " norepeatngramsize blockngramrepeat "},
    {"run.seed", " randomseed manualseed "},
};

constexpr ForeignName kOptions[] = {
    {"the number of ranks is the launcher's: mpirun -np N th_app DECK",
     " np nproc nprocpernode nprocs n nnodes nodes gpus ngpus numgpus numprocesses worldsize "
     "localrank noderank masteraddr masterport rank "},
    {"tools/deepspeed2deck.py F.json makes a deck of a DeepSpeed configuration",
     " deepspeed deepspeedconfig dsconfig "},
    {"the deck stands alone, as in th_app inputs/stage2.in",
     " config configfile cfg deck input conf yaml "},
    {"run.output_dir=FOLDER is where a model is written, checkpoint.init_from=CHECKPOINT where it "
     "is "
     "taken from",
     " model modelpath modeldir "},
    {"th_translate CHECKPOINT translates", " translate predict generate infer inference "},
    {"--check reads and checks the deck", " dryrun "},
    {"th_inspect info CHECKPOINT shows a checkpoint", " info inspect "},
};

}  // namespace

std::string plain_name(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != '_' && c != '-' && c != ' ')
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

std::span<const ForeignName> foreign_keys() { return kKeys; }

std::span<const ForeignName> foreign_options() { return kOptions; }

std::string_view meaning_of(std::string_view plain, std::span<const ForeignName> table) {
  if (plain.empty()) return {};
  const std::string asked = " " + std::string(plain) + " ";
  const auto found = std::find_if(table.begin(), table.end(), [&](const ForeignName& foreign) {
    return foreign.names.find(asked) != std::string_view::npos;
  });
  return found == table.end() ? std::string_view() : found->here;
}

}  // namespace th::config
