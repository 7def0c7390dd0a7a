//! The answers of network and model: by class, and where they differ.

use brooklet_plan::model_file::{Answer, ModelFile};
use brooklet_quantize::evaluate::best;
use maud::{Markup, html};

use super::live::Sample;
use crate::report::comparison::Comparison;
use crate::report::percent;

/// Number of classes up to which a confusion matrix is readable.
const READABLE: usize = 20;

/// Answers to labelled images.
pub(crate) struct Answers {
    /// Number of images that have a label.
    pub(super) labelled: usize,
    classes: Vec<Class>,
}

struct Class {
    name: String,
    /// How often the model gives each class as its answer.
    said: Vec<usize>,
    images: usize,
    right: usize,
    /// Number of images that the float network classifies correctly.
    right_in_float: usize,
}

impl Answers {
    /// Counts the answers.
    pub(crate) fn new(
        file: &ModelFile,
        answers: &[(Answer, Option<usize>)],
        float: &[usize],
    ) -> Self {
        let quantization = file.model().logits_quantization();
        // A network of one score tells two classes apart.
        let count = file.model().classes().max(2);
        let mut classes: Vec<Class> = (0..count)
            .map(|class| Class {
                name: file.label(class),
                said: vec![0; count],
                images: 0,
                right: 0,
                right_in_float: 0,
            })
            .collect();
        let mut labelled = 0;
        for ((answer, label), &float) in answers.iter().zip(float) {
            let Some(class) = label.and_then(|label| classes.get_mut(label).map(|c| (label, c)))
            else {
                continue;
            };
            let (label, class) = class;
            let logits: Vec<f32> =
                answer.logits.iter().map(|&logit| quantization.dequantize(logit)).collect();
            let said = best(&logits, 0.0);
            labelled += 1;
            class.images += 1;
            class.said[said] += 1;
            class.right += usize::from(said == label);
            class.right_in_float += usize::from(float == label);
        }
        Self { labelled, classes }
    }
}

/// The interval that holds a share of `of` images with 95 % confidence (Wilson's score interval).
pub(super) fn interval(share: f64, of: usize) -> [f64; 2] {
    const Z: f64 = 1.959_964;
    let n = (of as f64).max(1.0);
    let middle = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt() / (1.0 + Z * Z / n);
    [(middle - half).max(0.0), (middle + half).min(1.0)]
}

/// The accuracy of each class, and the confusion matrix.
pub(super) fn classes(answers: &Answers) -> Markup {
    let seen: Vec<&Class> = answers.classes.iter().filter(|class| class.images > 0).collect();
    html! {
        @if seen.is_empty() {
            p { "The images have no labels." }
        } @else {
            div.wide {
                div.scroll tabindex="0" role="region" aria-label="Accuracy of each class" {
                    table {
                        caption { "Accuracy of each class" }
                        thead { tr {
                            @for head in ["class", "images", "float", "int8", "95 % of int8"] {
                                th scope="col" { (head) }
                            }
                        } }
                        tbody {
                            @for class in &seen {
                                @let share = |right: usize| right as f64 / class.images as f64;
                                @let [low, high] = interval(share(class.right), class.images);
                                tr {
                                    th scope="row" { (class.name) }
                                    td { (class.images) }
                                    td { (percent(share(class.right_in_float))) }
                                    td { (percent(share(class.right))) }
                                    td { (format!("{:.1} to {:.1} %", 100.0 * low, 100.0 * high)) }
                                }
                            }
                        }
                    }
                }
                @if answers.classes.len() <= READABLE { (confusion(answers, &seen)) }
            }
        }
    }
}

/// The model's answers to the images of each class.
fn confusion(answers: &Answers, seen: &[&Class]) -> Markup {
    let most = seen.iter().flat_map(|class| &class.said).copied().max().unwrap_or(1).max(1);
    // The square root makes the few wrong answers visible.
    let strength = |count: usize| (count as f64 / most as f64).sqrt();
    html! {
        div.scroll tabindex="0" role="region" aria-label="Confusion matrix" {
            table.confusion {
                caption { "Answers of the int8 model (columns) to images of each class (rows)" }
                thead { tr {
                    th scope="col" { "class" }
                    @for class in &answers.classes { th scope="col" { (class.name) } }
                } }
                tbody {
                    @for (label, class) in answers.classes.iter().enumerate() {
                        @if class.images > 0 {
                            tr {
                                th scope="row" { (class.name) }
                                @for (said, &count) in class.said.iter().enumerate() {
                                    td.right[said == label]
                                        style=(format!("--s:{:.0}%", 55.0 * strength(count))) {
                                        (count)
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The images that float network and model classify differently.
pub(super) fn parted(report: &Comparison, thumbnails: &[Sample]) -> Markup {
    html! {
        @if report.parted.is_empty() {
            p { "None: their answers are the same on all images." }
        } @else {
            p { (report.parted.len()) " of " (report.score.images) " images"
                @if thumbnails.len() < report.parted.len() { "; the first " (thumbnails.len()) }
                "." }
            ul.thumbnails {
                @for (index, sample) in thumbnails.iter().enumerate() {
                    @let parted = &report.parted[index];
                    li {
                        canvas data-thumbnail=(index) role="img" aria-label=(sample.name) {}
                        p {
                            @if let Some(label) = &parted.label { b { (label) } br; }
                            "float: " (parted.float) br;
                            "int8: " (parted.model)
                        }
                        p.faint { (sample.name) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::interval;

    #[test]
    fn intervals_are_wilson_s() {
        // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20.
        let near = |found: [f64; 2], known: [f64; 2]| {
            found.iter().zip(known).all(|(found, known)| (found - known).abs() < 5e-5)
        };
        assert!(near(interval(81.0 / 263.0, 263), [0.2553, 0.3662]));
        assert!(near(interval(15.0 / 148.0, 148), [0.0624, 0.1605]));
        assert!(near(interval(0.0, 20), [0.0, 0.1611]));
    }
}
