//! The page that `brooklet report` writes: one file, which fetches nothing.
//!
//! It is readable in light and dark, on a phone, and by keyboard. Without scripts only the running
//! model is missing.

pub(crate) mod answers;
mod layers;
pub(crate) mod live;
mod network;

use brooklet_firmware::Spec;
use brooklet_plan::memory_map::MemoryMap;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::answers::{Answers, interval};
use self::live::{Live, Sample};
use super::comparison::Comparison;
use super::contents::Contents;
use super::count::Time;
use super::{percent, thousands};

const STYLE: &str = include_str!("page.css");

/// Allows the page to use what it contains, and nothing else.
const POLICY: &str = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; \
                      script-src 'unsafe-inline' 'wasm-unsafe-eval'";

/// The contents of the page.
pub(crate) struct Page<'a> {
    /// Names of the files: network and model.
    pub(crate) names: [String; 2],
    pub(crate) report: &'a Comparison,
    pub(crate) contents: &'a Contents,
    pub(crate) board: Option<&'a Spec>,
    /// Time of an image on that board.
    pub(crate) time: Option<Time>,
    /// The command that follows the advice.
    pub(crate) command: Option<String>,
    pub(crate) answers: Answers,
    pub(crate) live: Option<&'a Live>,
    /// Images that float network and model classify differently, up to a limit.
    pub(crate) thumbnails: &'a [Sample],
    /// The memory map, a whole SVG.
    pub(crate) map: &'a str,
}

/// The page.
pub(crate) fn page(page: &Page<'_>) -> String {
    let Page { report, contents, .. } = page;
    let title = format!("{} in int8", page.names[0]);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                // Without an icon of its own, a browser asks a server for one.
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#network" { "Skip to the network" }
                header {
                    h1 { (title) }
                    p.faint { (page.names[0]) " in float, and " (page.names[1]) ", on "
                        (thousands(report.score.images))
                        @if report.score.images == 1 { " image." } @else { " images." } }
                    (headlines(page))
                }
                main {
                    section aria-labelledby="advice" {
                        h2 id="advice" { "What would help" }
                        p.advice { (report.advice.text) }
                        @if let Some(command) = &page.command {
                            pre.scroll tabindex="0" aria-label="The command" { code { (command) } }
                            button.copy type="button" hidden data-copy=(command) { "Copy" }
                        }
                    }
                    section aria-labelledby="network" {
                        h2 id="network" tabindex="-1" { "The network" }
                        @if let Some(live) = page.live { (live::controls(live)) } @else {
                            p.faint { "The model does not run in this page: it is larger than 4 MB, or \
                                its arena larger than 1 MB." }
                        }
                        (network::drawing(&report.layers, contents, page.live.is_some()))
                    }
                    section aria-labelledby="answers" {
                        h2 id="answers" { "Answers, class by class" }
                        (answers::classes(&page.answers))
                    }
                    section aria-labelledby="parted" {
                        h2 id="parted" { "Images that they classify differently" }
                        (answers::parted(report, page.thumbnails))
                    }
                    section aria-labelledby="layers" {
                        h2 id="layers" { "The layers" }
                        p { "On " (report.layers_on) " images. " em { "Alone" } " is the logits' \
                             signal to noise with only this layer quantized, and all others in float." }
                        (layers::table(&report.layers))
                        @for (index, layer) in report.layers.iter().enumerate().skip(1) {
                            (layers::details(index, layer))
                        }
                    }
                    section aria-labelledby="costs" {
                        h2 id="costs" { "Where the work goes" }
                        (layers::costs(contents, page.board.map(|spec| spec.name.as_str())))
                    }
                    section aria-labelledby="memory" {
                        h2 id="memory" { "The arena over time" }
                        p { "Steps run to the right, " (thousands(contents.arena_bytes)) " bytes downwards. A \
                             colour is a layer; vertical lines begin segments. " code { "brooklet plan --svg" }
                            " writes this map as a file in which every row is labelled." }
                        // The map is an image, so that its style does not mix with the page's.
                        figure.scroll tabindex="0" role="group" aria-label="Memory map" {
                            img src=(data_uri(page.map)) alt="Rows of the layers in the arena, over time";
                        }
                        details {
                            summary { "Colours of the layers" }
                            ul.legend {
                                @for (index, layer) in contents.layers.iter().enumerate() {
                                    li {
                                        span.swatch style=(format!("background:{}", MemoryMap::colour(index))) {}
                                        (layer.name)
                                    }
                                }
                            }
                        }
                    }
                }
                footer { p.faint { "Written by brooklet " (env!("CARGO_PKG_VERSION")) "." } }
                @if let Some(live) = page.live { (live::scripts(live, page.thumbnails)) }
            }
        }
    }
    .into_string()
}

/// An image as a `data:` address.
fn data_uri(svg: &str) -> String {
    let mut uri = String::from("data:image/svg+xml,");
    for character in svg.chars() {
        match character {
            '%' | '#' | '"' | '\n' | '?' | '<' | '>' => {
                uri += &format!("%{:02X}", u32::from(character));
            }
            _ => uri.push(character),
        }
    }
    uri
}

/// The main figures, each with its unit.
fn headlines(page: &Page<'_>) -> Markup {
    let Page { report, contents, .. } = page;
    let score = &report.score;
    let images = score.images;
    let share = |share: Option<f64>, images: usize| {
        share.map(|share| {
            let [low, high] = interval(share, images).map(percent);
            (percent(share), format!("95 %: {low} to {high}"))
        })
    };
    let labelled = page.answers.labelled;
    let bytes = |count: usize, of: &str| Some((thousands(count), format!("bytes of {of}")));
    let board = page.board.map_or("", |spec| &spec.name);
    let time = page.time.map(|time| {
        let clock = page.board.map_or(0.0, |spec| f64::from(spec.clock_hz) / 1e6);
        let kind =
            if time.at_least { "at least, at one instruction per cycle" } else { "predicted" };
        let words = format!("an image, {kind}, on {board} at {clock} MHz");
        let value = match time.milliseconds {
            short @ ..100.0 => format!("{short:.1} ms"),
            long => format!("{} ms", thousands(format!("{long:.0}"))),
        };
        (value, words)
    });
    let instructions = contents.instructions.map(|count| {
        (format!("{:.1} M", count as f64 / 1e6), format!("an image, predicted, on {board}"))
    });
    let facts = [
        ("Accuracy in float", share(report.float_top1, labelled)),
        ("Accuracy in int8", share(score.top1, labelled)),
        ("Same answer", share(score.agreement, images)),
        (
            "Signal to noise",
            score.sqnr_db.map(|db| (format!("{db:.1} dB"), "of the logits".into())),
        ),
        ("RAM", bytes(contents.arena_bytes, "arena")),
        ("Flash", bytes(contents.model_bytes, "model file")),
        ("Time", time),
        ("Instructions", instructions),
        (
            "Multiplications",
            Some((format!("{:.1} M", contents.macs as f64 / 1e6), "an image".into())),
        ),
    ];
    html! {
        dl.headlines {
            @for (name, value) in facts {
                @if let Some((value, words)) = value {
                    div { dt { (name) } dd.value { (value) } dd.faint { (words) } }
                }
            }
        }
    }
}

fn decibels(db: Option<f64>) -> Option<String> {
    db.map(|db| format!("{db:.1} dB"))
}

/// Shares of the error at which its colours change.
const SHADES: [f64; 4] = [0.01, 0.03, 0.06, 0.12];

/// Which of the colours of errors a share gets: 0 to 4.
fn shade(share: f64) -> usize {
    SHADES.iter().filter(|&&from| share >= from).count()
}
