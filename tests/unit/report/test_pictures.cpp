#include <gtest/gtest.h>

#include <string>

#include "app/report/pictures/picture.hpp"
#include "app/report/pictures/run_pictures.hpp"
#include "th/base/error.hpp"

namespace {

using namespace th::app;

Picture one_curve(const std::string& label) {
  Picture picture;
  picture.name = "loss";
  picture.title = "Training <loss>";
  picture.x_label = "step";
  Curve curve;
  curve.label = label;
  curve.bins = {{1, 9, 8, 10, 2}, {3, 7, 6, 8, 2}};
  picture.curves = {curve, curve};
  return picture;
}

TEST(GnuplotScript, ALabelIsNeverACommand) {
  const std::string script = gnuplot_script(one_curve("it's\n`rm x` $d0 & \"b\" <c>"));
  EXPECT_NE(script.find("title 'it''s `rm x` $d0 &#x26; \"b\" <c>'"), std::string::npos) << script;
}

TEST(GnuplotScript, ALabelOfBrokenBytesIsUtf8) {
  const std::string script = gnuplot_script(one_curve("a\xff\x01"));
  EXPECT_NE(script.find("title 'a\xef\xbf\xbd\xef\xbf\xbd'"), std::string::npos) << script;
}

TEST(GnuplotScript, PointsAreThoseOfTheBins) {
  const std::string script = gnuplot_script(one_curve("a"));
  EXPECT_NE(script.find("$d0 << END\n1 9 8 10\n3 7 6 8\nEND\n"), std::string::npos) << script;
  EXPECT_NE(script.find("$d1 using 1:2 with linespoints"), std::string::npos) << script;
}

TEST(GnuplotScript, ABandComesBeforeItsLineAndAnEmptyCurveNotAtAll) {
  Picture picture = one_curve("a");
  picture.curves[0].band = true;
  picture.curves[1].bins.clear();
  const std::string script = gnuplot_script(picture);
  EXPECT_LT(script.find("using 1:3:4 with filledcurves"), script.find("using 1:2 with"));
  EXPECT_EQ(script.find("$d1"), std::string::npos);
  EXPECT_NE(script.find("unset key"), std::string::npos);
}

TEST(GnuplotScript, BoxesHaveTheirRowsNames) {
  Picture picture;
  picture.name = "memory";
  picture.x_label = "MiB";
  picture.rows = {{1, "it's"}, {2, "b"}};
  Curve curve;
  curve.label = "planned";
  curve.boxes = {{0, 10, 0.64, 1}, {0, 5, 1.64, 2}};
  picture.curves = {curve};
  const std::string script = gnuplot_script(picture);
  EXPECT_NE(script.find("set ytics ('it''s' 1, 'b' 2)"), std::string::npos) << script;
  EXPECT_NE(script.find("5 0.82 0 10 0.64 1\n"), std::string::npos) << script;
  EXPECT_NE(script.find("set yrange [2.5:0.5]"), std::string::npos) << script;
}

constexpr const char* kSvg =
    "<?xml version=\"1.0\"?>\n<svg \n viewBox=\"0 0 7 3\"\n>\n<title>Gnuplot</title>\n"
    "<desc>Produced by GNUPLOT</desc>\n<defs><path id='gpPt0' d='M1'/></defs>\n"
    "<g fill=\"none\" color=\"black\" stroke=\"currentColor\"><path stroke='black' d='M2'/>"
    "<g fill=\"black\"><text>7</text></g></g>\n"
    "<g id=\"gnuplot_plot_1\" ><title>gnuplot_plot_1</title><use xlink:href='#gpPt0'/></g>\n"
    "<g id=\"gnuplot_plot_2\" ><title>gnuplot_plot_2</title></g>\n</svg>\n\n";

TEST(FinishedSvg, CurvesHaveTheirLabelsAndIdsThePicturesName) {
  Picture picture = one_curve("a & b");
  const std::string svg = finished_svg(picture, kSvg, SvgUse::kInline);
  EXPECT_TRUE(svg.starts_with("<svg role=\"img\" aria-label=\"Training &lt;loss&gt;\"")) << svg;
  EXPECT_NE(svg.find("<g class=\"curve\" id=\"loss_gnuplot_plot_1\"><title>a &amp; b</title>"),
            std::string::npos)
      << svg;
  EXPECT_NE(svg.find("id=\"loss_gnuplot_plot_2\""), std::string::npos);
  EXPECT_NE(svg.find("id='loss_gpPt0'"), std::string::npos);
  EXPECT_NE(svg.find("href='#loss_gpPt0'"), std::string::npos);
  EXPECT_NE(svg.find("<title>Training &lt;loss&gt;</title>"), std::string::npos);
  EXPECT_EQ(svg.find("Gnuplot"), std::string::npos);
}

TEST(FinishedSvg, BlackIsThePagesColour) {
  const std::string svg = finished_svg(one_curve("a"), kSvg, SvgUse::kInline);
  EXPECT_EQ(svg.find("black"), std::string::npos) << svg;
  EXPECT_NE(svg.find("<path stroke='currentColor' d='M2'/>"), std::string::npos) << svg;
  EXPECT_NE(svg.find("<g fill=\"currentColor\"><text>"), std::string::npos) << svg;
  EXPECT_EQ(svg.find("<style>"), std::string::npos);
}

TEST(FinishedSvg, AFileHasItsOwnColours) {
  const std::string svg = finished_svg(one_curve("a"), kSvg, SvgUse::kFile);
  EXPECT_TRUE(svg.starts_with("<?xml ")) << svg;
  EXPECT_NE(svg.find("prefers-color-scheme:dark"), std::string::npos);
}

TEST(FinishedSvg, OtherOutputIsRefused) {
  EXPECT_THROW((void)finished_svg(one_curve("a"), "gnuplot>", SvgUse::kInline), th::InternalError);
}

RunData run_named(const std::string& name) {
  RunData run;
  run.name = name;
  for (int step = 1; step <= 1000; ++step) run.metrics.loss.add(step, 1.0 / step);
  return run;
}

const Picture* picture_named(const std::vector<Picture>& pictures, const std::string& name) {
  for (const Picture& picture : pictures)
    if (picture.name == name) return &picture;
  return nullptr;
}

TEST(RunPictures, EveryRunIsACurveAndWhatNoRunHasIsNoPicture) {
  std::vector<RunData> runs;
  for (int i = 0; i < 10; ++i) runs.push_back(run_named("run" + std::to_string(i)));
  runs[3].metrics.valid_scores["bleu"].add(10, 20);
  const auto pictures = pictures_of(runs);
  ASSERT_EQ(pictures.size(), 2U);
  const Picture* const loss = picture_named(pictures, "loss");
  ASSERT_NE(loss, nullptr);
  ASSERT_EQ(loss->curves.size(), 10U);
  EXPECT_FALSE(loss->curves[0].band);
  const Picture* const bleu = picture_named(pictures, "score_bleu");
  ASSERT_NE(bleu, nullptr);
  ASSERT_EQ(bleu->curves.size(), 1U);
  EXPECT_EQ(bleu->curves[0].label, "run3");
  EXPECT_EQ(bleu->curves[0].color, 3);  // that of the run in all pictures
}

TEST(RunPictures, TheThinnedCurveOfOneRunHasABand) {
  const auto pictures = pictures_of({run_named("a")});
  ASSERT_EQ(pictures.size(), 1U);
  EXPECT_TRUE(pictures[0].curves[0].band);
  EXPECT_NE(pictures[0].note.find("up to 4 steps"), std::string::npos) << pictures[0].note;
}

TEST(RunPictures, PlannedStandsBesideMeasuredByClass) {
  RunData run = run_named("a");
  run.log.memory = {{"total", 3 << 20, 4 << 20}, {"parameters", 1 << 20, 2 << 20}};
  const auto pictures = pictures_of({run});
  const Picture* const memory = picture_named(pictures, "memory");
  ASSERT_NE(memory, nullptr);
  ASSERT_EQ(memory->rows.size(), 2U);
  EXPECT_EQ(memory->rows[1].second, "parameters");
  EXPECT_EQ(memory->curves[0].label, "planned");
  EXPECT_EQ(memory->curves[0].boxes[1].right, 1);
  EXPECT_EQ(memory->curves[1].boxes[1].right, 2);
}

TEST(RunPictures, PhasesOfARunWithoutTensorboardAreStepsAndTheEndsOfEpochs) {
  RunData run = run_named("a");
  run.metrics.step_seconds = 30;
  run.metrics.epoch_end_seconds = 6;
  auto phases = phases_of(run);
  ASSERT_EQ(phases.size(), 2U);
  EXPECT_EQ(phases[0].name, "steps");
  EXPECT_EQ(phases[1].name, "ends of epochs");
  run.events.seconds = {{"compute", 20}, {"data", 1}, {"validation", 4}};
  phases = phases_of(run);
  ASSERT_EQ(phases.size(), 3U);
  EXPECT_EQ(phases[0].name, "compute");
  EXPECT_EQ(phases[1].name, "data");
  EXPECT_EQ(phases[2].name, "validation");
}

}  // namespace
