//! The model that runs in the page: its data, its controls, and its scripts.

use brooklet_files::text;
use brooklet_plan::replay::Replay;
use maud::{Markup, PreEscaped, html};
use serde::Serialize;

const SCRIPT: &str = include_str!("page.js");

/// The data that the page needs to run the model.
///
/// Bytes are in base 64.
#[derive(Debug, Serialize)]
pub(crate) struct Live {
    pub(crate) model: String,
    /// The core, as WebAssembly.
    pub(crate) core: String,
    /// Rows, columns, channels.
    pub(crate) input: [usize; 3],
    pub(crate) arena_bytes: usize,
    /// Names of the classes.
    pub(crate) labels: Vec<String>,
    /// Scale of the scores.
    pub(crate) scale: f32,
    pub(crate) zero_point: i32,
    pub(crate) shown: Shown,
    pub(crate) samples: Vec<Sample>,
    pub(crate) replay: Replay,
}

/// What is shown for a score.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Shown {
    /// Its share in a softmax of all scores.
    Softmax,
    /// Its sigmoid.
    Sigmoid,
    /// The score itself.
    Itself,
}

/// An image.
#[derive(Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) name: String,
    /// Name of its class, if known.
    pub(crate) label: Option<String>,
    /// The float network's answer.
    pub(crate) float: String,
    /// The simulator's scores, which the page must reproduce.
    pub(crate) logits: Vec<i16>,
    /// Its pixels, in base 64.
    pub(crate) pixels: String,
}

/// The controls of the running model.
pub(super) fn controls(live: &Live) -> Markup {
    let last = live.replay.steps.len();
    html! {
        noscript { p { "The model runs here if scripts are enabled." } }
        div.live id="live" hidden {
            p { "The model runs in this page, with the bytes of the device: the core itself, as \
                 WebAssembly. Choose an image, or drop one of your own. Then step through the rows of \
                 the image: rows light up as they are made, and the arena shows where they are." }
            div.samples role="group" aria-label="Images" {
                @for (index, sample) in live.samples.iter().enumerate() {
                    button type="button" data-sample=(index) aria-pressed="false" {
                        canvas aria-hidden="true" {}
                        span { (sample.label.as_deref().unwrap_or(&sample.name)) }
                    }
                }
                label.drop {
                    span { "Your image" }
                    input type="file" accept="image/*" id="file";
                }
            }
            div.answer {
                canvas id="image" role="img" aria-label="The image that is classified" {}
                div {
                    ol id="answer" aria-live="polite" {}
                    p.faint id="checked" role="status" {}
                }
            }
            div.player role="group" aria-label="Steps" {
                button type="button" id="back" aria-keyshortcuts="j" { "◀ Step" }
                button type="button" id="play" aria-keyshortcuts="k" { "▶ Play" }
                button type="button" id="forth" aria-keyshortcuts="l" { "Step ▶" }
                input type="range" id="step" min="0" max=(last) value="0" aria-label="Step";
            }
            p id="at" {}
            p.faint { "Keys: " kbd { "j" } " step back, " kbd { "k" } " play and pause, " kbd { "l" }
                " step; the slider takes the arrows." }
        }
    }
}

/// The data and the scripts.
pub(super) fn scripts(live: &Live, thumbnails: &[Sample]) -> Markup {
    #[derive(Serialize)]
    struct Data<'a> {
        #[serde(flatten)]
        live: &'a Live,
        thumbnails: Vec<&'a str>,
    }
    let thumbnails = thumbnails.iter().map(|sample| sample.pixels.as_str()).collect();
    // Names come from files, and must not end the script.
    let data = serde_json::to_string(&Data { live, thumbnails }).unwrap_or_default();
    let data = text::json(&data).replace('<', "\\u003c");
    html! {
        script type="application/json" id="data" { (PreEscaped(data)) }
        script { (PreEscaped(SCRIPT)) }
    }
}
