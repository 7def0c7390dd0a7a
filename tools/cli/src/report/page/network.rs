//! The network drawn as residual blocks, and the arena beside it.

use brooklet_quantize::compare::LayerLoss;
use maud::{Markup, html};

use super::{SHADES, shade};
use crate::report::contents::{Contents, LayerContents};
use crate::report::thousands;

/// Width and height of a layer's box.
const BOX: [usize; 2] = [176, 58];
const GAP: usize = 22;
const LEFT: usize = 6;
/// Radius of the node of an addition.
const NODE: usize = 11;

/// Layers that are drawn together: those of a residual block, or a single layer.
struct Block<'a> {
    name: &'a str,
    layers: Vec<usize>,
}

/// Groups layers by the names of their blocks, with which canonical names begin.
fn blocks(layers: &[LayerLoss]) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let name = layer.name.rsplit_once('.').map_or(layer.name.as_str(), |(block, _)| block);
        match blocks.last_mut() {
            Some(block) if block.name == name => block.layers.push(index),
            _ => blocks.push(Block { name, layers: vec![index] }),
        }
    }
    blocks
}

/// The blocks in order, a legend, and room for the arena.
pub(super) fn drawing(layers: &[LayerLoss], contents: &Contents, live: bool) -> Markup {
    let labels = ["below 1 %", "1 to 3 %", "3 to 6 %", "6 to 12 %", "12 % and more"];
    debug_assert_eq!(labels.len(), SHADES.len() + 1);
    html! {
        ul.legend aria-label="Colours" {
            @for (index, label) in labels.iter().enumerate() {
                li { span.swatch.(format!("s{index}")) {} (label) " of the error" }
            }
            @if live {
                li { span.swatch.made {} "rows that were made" }
                li { span.swatch.kept {} "rows in the arena" }
                li { span.swatch.now {} "the row of this step" }
            }
        }
        div.stage {
            div.blocks {
                @for block in blocks(layers) { (drawn(&block, layers, &contents.layers)) }
            }
            @if live {
                figure.arena id="arena-figure" hidden {
                    figcaption {
                        "The arena, from byte 0 at the top to byte " (thousands(contents.arena_bytes - 1))
                        ": its bytes are grey, a colour shows the layer of a row"
                    }
                    div.memory {
                        canvas id="bytes" aria-hidden="true" {}
                        svg id="arena" role="group" aria-label="Rows in the arena at this step"
                            preserveAspectRatio="none" {}
                    }
                    p.faint id="owner" { "Point at a row, or go to it with the Tab key, to see its layer." }
                }
            }
        }
    }
}

/// One block.
fn drawn(block: &Block<'_>, layers: &[LayerLoss], contents: &[LayerContents]) -> Markup {
    let [width, height] = BOX;
    let is_shortcut = |&&index: &&usize| layers[index].name.ends_with(".shortcut");
    let side: Vec<usize> = block.layers.iter().filter(is_shortcut).copied().collect();
    let main: Vec<usize> =
        block.layers.iter().filter(|index| !is_shortcut(index)).copied().collect();
    // A layer that reads a shortcut ends in an addition, or is one.
    let joins = main.last().is_some_and(|&last| layers[last].reads.len() > 1);
    let columns = 1 + usize::from(!side.is_empty());
    let room = if joins && side.is_empty() { 36 } else { 4 };
    let total = LEFT + columns * (width + 12) + room;
    let y = |row: usize| 14 + row * (height + GAP);
    let end = y(main.len().max(1)) - GAP;
    let tall = end + if joins { GAP + 2 * NODE + 6 } else { 4 };
    let middle = LEFT + width / 2;
    html! {
        figure.block {
            figcaption { (block.name) }
            svg viewBox=(format!("0 0 {total} {tall}")) width=(total) height=(tall) role="group"
                aria-label=(block.name) {
                @for row in 1..main.len() {
                    (arrow(middle, y(row) - GAP, y(row)))
                }
                @if joins {
                    @let node = end + GAP + NODE;
                    (arrow(middle, end, node - NODE))
                    @let way = match side.first() {
                        // The shortcut runs through its own box, or around the block.
                        Some(_) => {
                            let x = LEFT + width + 12 + width / 2;
                            format!("M{middle} 2H{x}V{} M{x} {}V{node}H{}", y(0), y(0) + height, middle + NODE)
                        }
                        None => {
                            let x = LEFT + width + 24;
                            format!("M{middle} 2H{x}V{node}H{}", middle + NODE)
                        }
                    };
                    path d=(way) {}
                    line x1=(middle) x2=(middle) y1="2" y2=(y(0)) {}
                    circle cx=(middle) cy=(node) r=(NODE) { title { "The shortcut is added" } }
                    text.plus x=(middle) y=(node + 5) { "+" }
                }
                @for (row, &index) in main.iter().enumerate() {
                    (layer_box(index, [LEFT, y(row)], layers, contents))
                }
                @for &index in &side {
                    (layer_box(index, [LEFT + width + 12, y(0)], layers, contents))
                }
            }
        }
    }
}

fn arrow(x: usize, from: usize, to: usize) -> Markup {
    html! {
        line x1=(x) x2=(x) y1=(from) y2=(to) {}
        path.head d=(format!("M{} {}L{x} {to}L{} {}", x - 4, to - 6, x + 4, to - 6)) {}
    }
}

/// A layer: a link to its details, with a strip for its rows.
fn layer_box(
    index: usize,
    [x, y]: [usize; 2],
    layers: &[LayerLoss],
    contents: &[LayerContents],
) -> Markup {
    let layer = &layers[index];
    let [width, height] = BOX;
    let [rows, columns, channels] = contents[index].shape;
    let shape = format!("{rows}×{columns}×{channels}");
    let name = layer.name.rsplit('.').next().unwrap_or(&layer.name);
    let share = format!("{:.1} %", 100.0 * layer.share);
    let told = format!(
        "{}, {}, {rows} by {columns} by {channels}, {share} of the error",
        layer.name,
        layer.shown_kind()
    );
    html! {
        a href=(if index > 0 { format!("#layer{index}") } else { "#layers".into() })
            aria-label=(told) data-layer=(index) {
            title { (told) }
            rect.(format!("e{}", shade(layer.share))) x=(x) y=(y) rx="5" width=(width) height=(height) {}
            text x=(x + 8) y=(y + 17) { (name) }
            text.end x=(x + width - 8) y=(y + 17) { @if index > 0 { (share) } }
            text.small x=(x + 8) y=(y + 34) { (layer.shown_kind()) }
            text.small.end x=(x + width - 8) y=(y + 34) { (shape) }
            g.strip transform=(format!("translate({} {})", x + 8, y + 42)) {
                rect.none width=(width - 16) height="9" {}
            }
        }
    }
}
