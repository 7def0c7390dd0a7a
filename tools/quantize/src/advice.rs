//! Advice on what quantization costs.

use schemars::JsonSchema;
use serde::Serialize;

use crate::compare::LayerLoss;

/// Signal to noise of the logits, in dB, at which nothing needs improving: they are within 1 % of
/// float.
const ENOUGH: f64 = 40.0;
/// Share of a layer's outputs that may be clipped before clipping counts as its problem.
const CLIPPED: f64 = 1e-3;

/// Share of the error from rounding the residual stream above which 16 bits are worth it.
const STREAM: f64 = 0.4;

/// What to do about what quantization costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Advice {
    /// The advice in words.
    pub text: String,
    /// Options of `quantize` that follow the advice, if there are any.
    pub options: Option<String>,
}

/// Advice on the layer that causes most of the error, or on the residual stream if that causes
/// more: names it, and the option that helps.
///
/// A model does not store the options that it was made with; for an option that may have been given
/// already, the advice says what to do then.
pub fn advice(layers: &[LayerLoss], sqnr_db: Option<f64>) -> Advice {
    let worst = layers.iter().enumerate().max_by(|a, b| a.1.share.total_cmp(&b.1.share));
    let Some((index, worst)) = worst.filter(|(_, worst)| worst.share > 0.0) else {
        return Advice { text: "No layer causes an error.".into(), options: None };
    };
    let end = match sqnr_db {
        Some(db) if db >= ENOUGH => " That is little: the logits are within 1 % of float.",
        _ => "",
    };
    let last = layers.iter().rposition(|layer| layer.alone_db.is_some());
    // The layers that end a block round the stream.
    let joins = || layers.iter().filter(|layer| layer.kind.ends_with("add"));
    let rounding: f64 = joins().map(|layer| layer.share * (1.0 - layer.weights_part)).sum();
    if rounding >= STREAM.max(worst.share) && joins().all(|layer| layer.activation_bits == 8) {
        let text = format!(
            "The ends of the {} residual blocks, which round the stream, cause {:.0} % of the \
             error: with --stream 16 the stream keeps 16 bits, for twice the bytes of its \
             rows.{end}",
            joins().count(),
            100.0 * rounding,
        );
        return Advice { text, options: Some("--stream 16".into()) };
    }
    let (why, options): (String, Option<String>) = if index == 0 {
        let why = "through the scale that its pixels are rounded to, which the network's file \
                   gives: quantize the float network, whose pixels are exact";
        (why.into(), None)
    } else if worst.saturation > CLIPPED {
        let why = format!(
            "clips {:.2} % of its values: quantize with --calibration min-max; if it was, with \
             --calibrate on more images like these",
            100.0 * worst.saturation,
        );
        (why, Some("--calibration min-max".into()))
    } else if worst.weights_part > 0.5 && worst.weight_bits == Some(4) {
        let why = "most of it through its weights, which have 4 bits: quantize with --weights 8, or with \
                   a larger --flash";
        (why.into(), Some("--weights 8".into()))
    } else if worst.weights_part > 0.5 || worst.activation_bits == 16 {
        let why = "most of it through its weights: quantize with --effort default, which learns \
                   their rounding, not with fast; if it was, with --calibrate on more images, and \
                   images like those it will see";
        (why.into(), Some("--effort default".into()))
    } else if last == Some(index) {
        let why = "most of it through the rounding of the logits themselves to int8: the layers before \
                   it need no improvement; with --int16 last the logits are int16";
        (why.into(), Some("--int16 last".into()))
    } else {
        let why = format!(
            "most of it through the rounding of its output to eight bits: --int16 {} keeps its \
             output in int16, if the device has the memory and the time for that",
            worst.name,
        );
        (why, Some(format!("--int16 {}", worst.name)))
    };
    let text =
        format!("`{}` causes {:.0} % of the error, {why}.{end}", worst.name, 100.0 * worst.share);
    Advice { text, options }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranges::Range;

    fn layer(name: &str, share: f64) -> LayerLoss {
        LayerLoss {
            name: name.into(),
            kind: "conv",
            activation_bits: 8,
            reads: vec![0],
            sqnr_db: Some(30.0),
            cosine: Some(0.999),
            saturation: 0.0,
            range: Range::default(),
            alone_db: Some(35.0),
            share,
            weights_part: 0.0,
            weight_bits: Some(8),
            values: Default::default(),
            weights: None,
        }
    }

    #[test]
    fn the_worst_layer_is_named_with_what_mends_it() {
        let told = |worst: LayerLoss| {
            let layers = [layer("input", 0.0), worst, layer("b", 0.2), layer("logits", 0.3)];
            advice(&layers, Some(30.0)).text
        };
        let weights = LayerLoss { weights_part: 0.9, ..layer("a", 0.5) };
        let halves = LayerLoss { weight_bits: Some(4), ..weights.clone() };
        let clips = LayerLoss { saturation: 0.02, ..halves.clone() };
        for (worst, says) in [
            (layer("a", 0.5), "rounding of its output to eight bits: --int16 a keeps"),
            (weights, "its weights: quantize with --effort default"),
            (halves, "which have 4 bits: quantize with --weights 8"),
            (clips, "clips 2.00 % of its values: quantize with --calibration min-max"),
        ] {
            let told = told(worst);
            assert!(told.starts_with("`a` causes 50 % of the error, "), "{told}");
            assert!(told.contains(says) && told.ends_with('.'), "{told}");
        }
        assert!(
            told(layer("a", 0.1)).contains("`logits` causes 30 % of the error, most of it through")
        );
        let pixels = [layer("input", 0.9), layer("a", 0.1)];
        assert!(advice(&pixels, Some(30.0)).text.contains("quantize the float network"));

        // Together the ends of blocks cause more than the worst layer.
        let end = |share| LayerLoss { kind: "conv+add", ..layer("end", share) };
        let blocks = [layer("a", 0.3), end(0.25), end(0.25), layer("logits", 0.2)];
        let told = advice(&blocks, Some(30.0));
        assert!(told.text.starts_with("The ends of the 2 residual blocks"), "{told:?}");
        assert!(told.text.contains("cause 50 %"), "{told:?}");
        assert_eq!(told.options.as_deref(), Some("--stream 16"));
        let wide = blocks.map(|layer| LayerLoss { activation_bits: 16, ..layer });
        assert_ne!(advice(&wide, Some(30.0)).options.as_deref(), Some("--stream 16"));
    }

    #[test]
    fn little_is_said_to_be_little() {
        let layers = [layer("input", 0.0), layer("a", 0.5), layer("b", 0.5)];
        assert!(advice(&layers, Some(40.0)).text.ends_with("within 1 % of float."));
        assert!(!advice(&layers, Some(39.0)).text.contains("little"));
        assert_eq!(advice(&[layer("a", 0.0)], None).text, "No layer causes an error.");
    }
}
