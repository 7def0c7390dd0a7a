//! The page that `brooklet compare --html` writes: everything in one file, no scripts, nothing
//! fetched. Readable in light and dark, on a phone, and by keyboard.

use std::ops::Range;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::comparison::Comparison;
use super::contents::{Contents, LayerContents};
use super::{percent, thousands};
use brooklet_quantize::compare::{BARS, LayerLoss};

const STYLE: &str = include_str!("page.css");

/// Extents of a layer's box in the drawing, and of what is around it.
const BOX: [usize; 2] = [240, 34];
const GAP: usize = 14;
const LEFT: usize = 8;
/// Room to the right of the boxes, for shortcuts.
const RIGHT: usize = 70;

/// Extents of a histogram.
const CHART: [usize; 2] = [320, 110];

/// The page. `map` is the memory map, a whole SVG.
pub(crate) fn page(
    title: &str,
    report: &Comparison,
    contents: &Contents,
    board: Option<&str>,
    map: &str,
) -> String {
    let layers = &report.layers;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Without one of its own, a browser asks a server for a page's icon.
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#layers" { "Skip to the layers" }
                header {
                    h1 { (title) }
                    p.advice { (report.advice) }
                    (summary(report, contents))
                }
                main {
                    section aria-labelledby="network" {
                        h2 id="network" { "The network" }
                        p { "Each layer links to its details. The fuller its bar, the more of the \
                             error it brings; curves are the blocks' shortcuts." }
                        figure { (drawing(layers)) }
                    }
                    section aria-labelledby="layers" {
                        h2 id="layers" tabindex="-1" { "The layers" }
                        p { "On " (report.layers_on) " images. " em { "Alone" } " is the logits' \
                             signal to noise with this layer quantized and all else in float." }
                        (table(layers))
                        @for (index, layer) in layers.iter().enumerate().skip(1) {
                            (details(index, layer))
                        }
                    }
                    section aria-labelledby="costs" {
                        h2 id="costs" { "Where the work goes" }
                        (costs(contents, board))
                    }
                    section aria-labelledby="memory" {
                        h2 id="memory" { "The arena over time" }
                        p { (thousands(contents.arena_bytes)) " bytes. " code { "brooklet plan --svg" }
                            " writes this map as a file in which every row says what it is." }
                        // An image of its own: its style is not the page's.
                        figure.scroll tabindex="0" role="group" aria-label="Memory map" {
                            img src=(data_uri(map)) alt="Rows of the layers in the arena, over time";
                        }
                    }
                    section aria-labelledby="parted" {
                        h2 id="parted" { "Images on which they part" }
                        (parted(report))
                    }
                }
            }
        }
    }
    .into_string()
}

/// An image in the address itself.
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

fn summary(report: &Comparison, contents: &Contents) -> Markup {
    let score = &report.score;
    let share = |share: Option<f64>| share.map(percent);
    let facts = [
        ("images", Some(thousands(score.images))),
        ("float top-1", share(report.float_top1)),
        ("model top-1", share(score.top1)),
        ("agreement", share(score.agreement)),
        ("logits' SQNR", decibels(score.sqnr_db)),
        ("model file", Some(format!("{} bytes", thousands(contents.model_bytes)))),
        ("MACs", Some(thousands(contents.macs))),
        ("instructions", contents.instructions.map(thousands)),
    ];
    html! {
        dl {
            @for (name, value) in facts {
                @if let Some(value) = value {
                    div { dt { (name) } dd { (value) } }
                }
            }
        }
    }
}

fn decibels(db: Option<f64>) -> Option<String> {
    db.map(|db| format!("{db:.1} dB"))
}

/// Which of the colours of errors a share gets: 0 to 4, by the logarithm.
fn shade(share: f64) -> usize {
    [0.01, 0.03, 0.06, 0.12].iter().filter(|&&from| share >= from).count()
}

/// The network from top to bottom.
fn drawing(layers: &[LayerLoss]) -> Markup {
    let [width, height] = BOX;
    let y = |index: usize| index * (height + GAP) + 4;
    let total = [LEFT + width + RIGHT, y(layers.len())];
    let deepest = layers.iter().map(|layer| layer.share).fold(0.0, f64::max).max(1e-9);
    html! {
        svg.network viewBox=(format!("0 0 {} {}", total[0], total[1])) role="group"
            aria-label="The layers from the input to the output" {
            @for (index, layer) in layers.iter().enumerate() {
                @for &read in &layer.reads {
                    @if index > 0 && read + 1 == index {
                        line x1=(LEFT + width / 2) x2=(LEFT + width / 2)
                            y1=(y(read) + height) y2=(y(index)) {}
                    } @else if index > 0 {
                        @let (from, to) = (y(read) + height / 2, y(index) + height / 2);
                        // Longer shortcuts swing out further.
                        @let out = LEFT + width + (14 * (index - read)).min(RIGHT + 16);
                        path d=(format!("M{x} {from}C{out} {from} {out} {to} {x} {to}", x = LEFT + width)) {}
                    }
                }
            }
            @for (index, layer) in layers.iter().enumerate() {
                @let label = format!("{}, {}, {:.1} % of the error", layer.name, layer.shown_kind(), 100.0 * layer.share);
                a href=(if index > 0 { format!("#layer{index}") } else { "#layers".into() })
                    aria-label=(label) {
                    title { (label) }
                    rect.(format!("e{}", shade(layer.share))) x=(LEFT) y=(y(index)) rx="5"
                        width=(width) height=(height) {}
                    rect.bar x=(LEFT) y=(y(index) + height - 4)
                        width=(format!("{:.1}", width as f64 * layer.share / deepest)) height="4" {}
                    text x=(LEFT + 8) y=(y(index) + 20) { (layer.name) }
                    text.end x=(LEFT + width - 8) y=(y(index) + 20) {
                        @if index > 0 { (format!("{:.1} %", 100.0 * layer.share)) }
                    }
                }
            }
        }
    }
}

fn table(layers: &[LayerLoss]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Figures of all layers" {
            table {
                thead { tr {
                    @for head in ["layer", "kind", "share of the error", "of it by weights", "SQNR", "cosine", "clipped", "alone"] {
                        th scope="col" { (head) }
                    }
                } }
                tbody {
                    @for (index, layer) in layers.iter().enumerate().skip(1) {
                        tr {
                            th scope="row" { a href=(format!("#layer{index}")) { (layer.name) } }
                            td { (layer.shown_kind()) }
                            td.(format!("e{}", shade(layer.share))) { (format!("{:.1} %", 100.0 * layer.share)) }
                            td { (format!("{:.0} %", 100.0 * layer.weights_part)) }
                            td { (decibels(layer.sqnr_db).unwrap_or_default()) }
                            td { (layer.cosine.map_or(String::new(), |cosine| format!("{cosine:.5}"))) }
                            td { (format!("{:.3} %", 100.0 * layer.saturation)) }
                            td { (decibels(layer.alone_db).unwrap_or_default()) }
                        }
                    }
                }
            }
        }
    }
}

/// Histograms of a layer. They open when linked to, as the link's target lies inside.
fn details(index: usize, layer: &LayerLoss) -> Markup {
    let range = layer.range;
    let extremes = layer.values.extremes;
    let ends = f64::from(extremes.min)..f64::from(extremes.max);
    html! {
        details {
            summary {
                b { (layer.name) } " " (layer.shown_kind()) ", "
                (format!("{:.1} %", 100.0 * layer.share)) " of the error"
            }
            div.charts id=(format!("layer{index}")) {
                figure {
                    figcaption {
                        "Output in float (zeros apart); int" (layer.activation_bits) " stands for "
                        (format!("{:.3} to {:.3}", range.min, range.max))
                    }
                    (histogram(&layer.values.counts, ends, &[f64::from(range.min), f64::from(range.max)]))
                }
                @if let Some(weights) = &layer.weights {
                    figure {
                        figcaption { "Weights, in steps of their channel's scale" }
                        (histogram(weights, -128.0..128.0, &[-127.0, 127.0]))
                    }
                }
            }
        }
    }
}

/// Bars, and lines at the ends of a range.
fn histogram(counts: &[u64; BARS], extremes: Range<f64>, ends: &[f64]) -> Markup {
    let [width, height] = CHART;
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let bar = width as f64 / BARS as f64;
    // Square roots: the few at the ends are what a range is about.
    let tall = |count: u64| (count as f64 / most as f64).sqrt() * (height - 24) as f64;
    let span = (extremes.end - extremes.start).max(f64::MIN_POSITIVE);
    let x = |value: f64| ((value - extremes.start) / span).clamp(0.0, 1.0) * width as f64;
    html! {
        svg.histogram viewBox=(format!("0 0 {width} {height}")) role="img"
            aria-label=(format!("Histogram from {:.3} to {:.3}", extremes.start, extremes.end)) {
            @for (index, &count) in counts.iter().enumerate().filter(|&(_, &count)| count > 0) {
                rect.bar x=(format!("{:.1}", index as f64 * bar)) width=(format!("{:.1}", bar - 0.5))
                    y=(format!("{:.1}", (height - 16) as f64 - tall(count)))
                    height=(format!("{:.1}", tall(count))) {}
            }
            @for &end in ends {
                line.end x1=(format!("{:.1}", x(end))) x2=(format!("{:.1}", x(end))) y1="0" y2=(height - 16) {}
            }
            text x="0" y=(height - 3) { (format!("{:.2}", extremes.start)) }
            text.end x=(width) y=(height - 3) { (format!("{:.2}", extremes.end)) }
        }
    }
}

/// Bars of what each layer takes.
fn costs(contents: &Contents, board: Option<&str>) -> Markup {
    let layers = &contents.layers;
    let most = |of: &dyn Fn(&LayerContents) -> u64| layers.iter().map(of).max().unwrap_or(0).max(1);
    let macs = |layer: &LayerContents| layer.macs;
    let bytes = |layer: &LayerContents| layer.weight_bytes as u64;
    let instructions = |layer: &LayerContents| layer.instructions.unwrap_or(0);
    let bar = |value: u64, most: u64| {
        let share = 100.0 * value as f64 / most as f64;
        html! { td { (thousands(value)) div.meter style=(format!("width:{share:.1}%")) {} } }
    };
    let mosts = [most(&macs), most(&bytes), most(&instructions)];
    html! {
        @if let Some(board) = board { p { "Instructions as the cost model predicts them for " (board) "." } }
        div.scroll tabindex="0" role="region" aria-label="Costs of all layers" {
            table.costs {
                thead { tr {
                    th scope="col" { "layer" }
                    th scope="col" { "MACs" }
                    th scope="col" { "bytes of weights" }
                    @if board.is_some() { th scope="col" { "instructions" } }
                } }
                tbody {
                    @for layer in layers.iter().skip(1) {
                        tr {
                            th scope="row" { (layer.name) }
                            (bar(macs(layer), mosts[0]))
                            (bar(bytes(layer), mosts[1]))
                            @if board.is_some() { (bar(instructions(layer), mosts[2])) }
                        }
                    }
                }
            }
        }
    }
}

fn parted(report: &Comparison) -> Markup {
    html! {
        @if report.parted.is_empty() {
            p { "None: their answers are the same on all images." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Images with different answers" {
                table {
                    thead { tr {
                        @for head in ["image", "it is", "float says", "the model says"] {
                            th scope="col" { (head) }
                        }
                    } }
                    tbody {
                        @for parted in &report.parted {
                            tr {
                                th scope="row" { (parted.image) }
                                td { (parted.label.as_deref().unwrap_or("")) }
                                td { (parted.float) }
                                td { (parted.model) }
                            }
                        }
                    }
                }
            }
        }
    }
}
