//! The layers: their figures, histograms and costs.

use std::ops::Range;

use brooklet_quantize::compare::{BARS, LayerLoss};
use maud::{Markup, html};

use super::{decibels, shade};
use crate::report::contents::{Contents, LayerContents};
use crate::report::thousands;

/// Width and height of a histogram.
const CHART: [usize; 2] = [320, 110];

/// The table of all layers.
pub(super) fn table(layers: &[LayerLoss]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Figures of all layers" {
            table {
                thead { tr {
                    @for head in ["layer", "kind", "share of the error", "by weights", "SQNR", "cosine", "clipped", "alone"] {
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

/// Histograms of a layer.
///
/// A link to them opens them, as its target lies inside.
pub(super) fn details(index: usize, layer: &LayerLoss) -> Markup {
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
                        "Output in float (without zeros); int" (layer.activation_bits) " stands for "
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

/// Bars, and lines at both ends of a range.
fn histogram(counts: &[u64; BARS], extremes: Range<f64>, ends: &[f64]) -> Markup {
    let [width, height] = CHART;
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let bar = width as f64 / BARS as f64;
    // The square root makes the few values at the ends visible, which matter for a range.
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

/// The costs of each layer as bars.
pub(super) fn costs(contents: &Contents, board: Option<&str>) -> Markup {
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
        @if let Some(board) = board { p { "Instructions that the cost model predicts for " (board) "." } }
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
