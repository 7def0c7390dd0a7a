//! What to do about what quantization costs.

use crate::compare::LayerLoss;

/// Signal to noise of logits, in dB, of which nothing need be mended: they are within 1 % of float.
const ENOUGH: f64 = 40.0;
/// Share of a layer's outputs that clipping may take before it is its trouble.
const CLIPPED: f64 = 1e-3;

/// What to do about the layer that brings most of the error: names it and the option that mends
/// it. A model does not say with which options it was made; where the option may have been given
/// already, it says what then is left to do.
pub fn advice(layers: &[LayerLoss], sqnr_db: Option<f64>) -> String {
    let worst = layers.iter().enumerate().max_by(|a, b| a.1.share.total_cmp(&b.1.share));
    let Some((index, worst)) = worst.filter(|(_, worst)| worst.share > 0.0) else {
        return "No layer brings an error.".into();
    };
    let last = layers.iter().rposition(|layer| layer.alone_db.is_some());
    let why = if index == 0 {
        "by the scale that its pixels are rounded to, which is the network file's own: quantize the \
         float network, whose pixels are exact"
            .into()
    } else if worst.saturation > CLIPPED {
        format!(
            "clips {:.2} % of its values: quantize with --calibration min-max; if it was, with \
             --calibrate on more images like these",
            100.0 * worst.saturation,
        )
    } else if worst.weights_part > 0.5 && worst.weight_bits == Some(4) {
        "most of it by its weights, which have 4 bits: quantize with --weights 8, or with a larger \
         --flash"
            .into()
    } else if worst.weights_part > 0.5 || worst.activation_bits == 16 {
        "most of it by its weights: quantize with --effort best, which learns their rounding from \
         more samples; if it was, with --calibrate on more images"
            .into()
    } else if last == Some(index) {
        "most of it by the rounding of the logits themselves to int8: the layers before it need \
         no mending; with --int16 last they are int16"
            .into()
    } else {
        format!(
            "most of it by the rounding of its output: quantize with --effort best, which tries \
             other ranges and scales of channels, and keeps those with the least error of the \
             logits; if it was, this is what eight bits leave: --int16 {} keeps its output in \
             int16, where the device has room and time for that",
            worst.name,
        )
    };
    let end = match sqnr_db {
        Some(db) if db >= ENOUGH => " That is little: the logits are within 1 % of float.",
        _ => "",
    };
    format!("`{}` brings {:.0} % of the error, {why}.{end}", worst.name, 100.0 * worst.share)
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
            advice(&layers, Some(30.0))
        };
        let weights = LayerLoss { weights_part: 0.9, ..layer("a", 0.5) };
        let halves = LayerLoss { weight_bits: Some(4), ..weights.clone() };
        let clips = LayerLoss { saturation: 0.02, ..halves.clone() };
        for (worst, says) in [
            (layer("a", 0.5), "rounding of its output: quantize with --effort best"),
            (weights, "its weights: quantize with --effort best"),
            (halves, "which have 4 bits: quantize with --weights 8"),
            (clips, "clips 2.00 % of its values: quantize with --calibration min-max"),
        ] {
            let told = told(worst);
            assert!(told.starts_with("`a` brings 50 % of the error, "), "{told}");
            assert!(told.contains(says) && told.ends_with('.'), "{told}");
        }
        assert!(told(layer("a", 0.1)).contains("`logits` brings 30 % of the error, most of it by"));
        let pixels = [layer("input", 0.9), layer("a", 0.1)];
        assert!(advice(&pixels, Some(30.0)).contains("quantize the float network"));
    }

    #[test]
    fn little_is_said_to_be_little() {
        let layers = [layer("input", 0.0), layer("a", 0.5), layer("b", 0.5)];
        assert!(advice(&layers, Some(40.0)).ends_with("within 1 % of float."));
        assert!(!advice(&layers, Some(39.0)).contains("little"));
        assert_eq!(advice(&[layer("a", 0.0)], None), "No layer brings an error.");
    }
}
