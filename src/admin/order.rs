//! The bodies of orders: read whole and small, then checked field by field, so that a refusal names every field that is
//! wrong and says what to write instead.

use std::time::Duration;

use actix_web::{HttpRequest, http::header, rt::time::timeout, web};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::answer::ApiError;

/// The longest body: the longest order has some 300 bytes.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_MS_MAX: u64 = 5_000;
/// The greatest rate: the greatest integer that every JSON reader keeps exact, 9 petabytes per second.
const RATE_MAX: u64 = (1 << 53) - 1;
/// Weights (view.rs): three decades to each side of 1.
const WEIGHTS: std::ops::RangeInclusive<f64> = 0.001..=1000.0;

/// What a class may be; the last is none.
const CLASSES: [&str; 3] = ["foreground", "background", "default"];

/// What a field takes.
#[derive(Copy, Clone)]
enum Field {
    /// Bytes per second, whole; 0 or null lifts.
    Rate,
    /// A number in [`WEIGHTS`]; null for the default.
    Weight,
    /// `foreground` or `background`; `default` or null for none.
    Class,
}

/// An order with a fixed set of fields.
pub(super) trait Order: DeserializeOwned {
    /// Its fields by name.
    const FIELDS: Fields;
}

/// Names and what they take.
pub(super) struct Fields(&'static [(&'static str, Field)]);

impl Order for actors::view::LimitsPatch {
    const FIELDS: Fields =
        Fields(&[("upload_bytes_per_second", Field::Rate), ("download_bytes_per_second", Field::Rate)]);
}

impl Order for actors::view::NodePatch {
    const FIELDS: Fields = Fields(&[
        ("upload_cap_bytes_per_second", Field::Rate),
        ("upload_floor_bytes_per_second", Field::Rate),
        ("download_cap_bytes_per_second", Field::Rate),
        ("download_floor_bytes_per_second", Field::Rate),
        ("weight", Field::Weight),
        ("class", Field::Class),
    ]);
}

/// Reads and checks the order in a request's body.
pub(super) async fn read<T: Order>(request: &HttpRequest, payload: web::Payload) -> Result<T, ApiError> {
    if !is_json(request) {
        return Err(ApiError::media_type());
    }
    let body = payload.to_bytes_limited(BODY_BYTES_MAX);
    let body = timeout(Duration::from_millis(BODY_MS_MAX), body).await.map_err(|_| ApiError::slow_body())?;
    let body = body.map_err(|_| ApiError::too_large(BODY_BYTES_MAX))?;
    let body = body.map_err(|error| ApiError::invalid(format!("the body could not be read: {error}")))?;
    parse(&body)
}

fn is_json(request: &HttpRequest) -> bool {
    let value = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn parse<T: Order>(body: &[u8]) -> Result<T, ApiError> {
    let value: Value = serde_json::from_slice(body).map_err(|error| ApiError::invalid(format!("not JSON: {error}")))?;
    let Value::Object(fields) = value else {
        return Err(ApiError::invalid("an order is a JSON object, like {\"weight\": 2}"));
    };
    let faults = faults(&fields, &T::FIELDS);
    if !faults.is_empty() {
        return Err(ApiError::invalid(faults.join("; ")));
    }
    // Again from the text, not from the map: a field that stands there twice is seen only here.
    serde_json::from_slice(body).map_err(|error| ApiError::invalid(error.to_string()))
}

fn faults(fields: &Map<String, Value>, known: &Fields) -> Vec<String> {
    let fault = |(name, value): (&String, &Value)| match known.0.iter().find(|(known, _)| known == name) {
        Some((name, field)) => field.fault(value).map(|fault| format!("{name}: {fault}")),
        None => Some(unknown(name, known)),
    };
    fields.iter().filter_map(fault).collect()
}

fn unknown(name: &str, known: &Fields) -> String {
    let names: Vec<&str> = known.0.iter().map(|(name, _)| *name).collect();
    let shown: String = name.chars().take(60).collect();
    format!("unknown field {shown:?}; there are {}", names.join(", "))
}

impl Field {
    /// What is wrong with `value`, and what to write instead.
    fn fault(self, value: &Value) -> Option<String> {
        match (self, value) {
            (Self::Rate | Self::Weight | Self::Class, Value::Null) => None,
            (Self::Rate, Value::Number(number)) if number.as_u64().is_some_and(|rate| rate <= RATE_MAX) => None,
            (Self::Rate, _) => Some(format!(
                "{} is no rate; write whole bytes per second as a number up to {RATE_MAX}, or null or 0 for unlimited",
                shown(value)
            )),
            (Self::Weight, Value::Number(number))
                if number.as_f64().is_some_and(|weight| WEIGHTS.contains(&weight)) =>
            {
                None
            }
            (Self::Weight, _) => {
                Some(format!("{} is no weight; write a number from 0.001 to 1000, or null for 1", shown(value)))
            }
            (Self::Class, Value::String(class)) if CLASSES.contains(&class.as_str()) => None,
            (Self::Class, _) => Some(format!(
                "{} is no class; write \"foreground\" or \"background\", or null for what is asked for",
                shown(value)
            )),
        }
    }
}

/// At most 40 characters of what was sent.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use actors::view::{Change, LimitsPatch, NodePatch};
    use proptest::prelude::*;

    use super::*;

    fn refused<T: Order>(body: &str) -> String {
        parse::<T>(body.as_bytes()).err().unwrap_or_else(|| panic!("{body} was taken")).to_string()
    }

    #[test]
    fn absent_null_zero_and_a_number_are_told_apart() {
        let patch: LimitsPatch = parse(br#"{"upload_bytes_per_second": 5000000}"#).unwrap();
        assert_eq!(patch.upload_bytes_per_second, Change(Some(Some(5_000_000))));
        assert_eq!(patch.download_bytes_per_second, Change(None));
        let patch: LimitsPatch =
            parse(br#"{"upload_bytes_per_second": null, "download_bytes_per_second": 0}"#).unwrap();
        assert_eq!(patch.upload_bytes_per_second, Change(Some(None)));
        assert_eq!(patch.download_bytes_per_second, Change(Some(Some(0))));
        let patch: NodePatch = parse(br#"{"weight": null, "class": null}"#).unwrap();
        assert_eq!((patch.weight, patch.class), (Change(Some(None)), Change(Some(None))));
        assert_eq!(parse::<NodePatch>(b"{}").unwrap(), NodePatch::default());
    }

    #[test]
    fn wrong_rates_are_named() {
        for value in ["-1", "1.5", "1e30", "18446744073709551616", "9007199254740992", "\"10MB\"", "true", "[1]", "{}"]
        {
            let words = refused::<LimitsPatch>(&format!(r#"{{"upload_bytes_per_second": {value}}}"#));
            assert!(
                words.starts_with(&format!("upload_bytes_per_second: {}", &value[..1.min(value.len())])),
                "{words}"
            );
            assert!(words.contains("write whole bytes per second"), "{words}");
        }
    }

    #[test]
    fn wrong_weights_and_classes_are_named() {
        for value in ["0", "-2", "1001", "1e308", "[]", "\"2\""] {
            assert!(
                refused::<NodePatch>(&format!(r#"{{"weight": {value}}}"#)).contains("from 0.001 to 1000"),
                "{value}"
            );
        }
        for value in ["\"Foreground\"", "\"\"", "1", "false"] {
            assert!(refused::<NodePatch>(&format!(r#"{{"class": {value}}}"#)).contains("\"background\""), "{value}");
        }
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let words = refused::<NodePatch>(r#"{"weight": 0, "class": "x", "upload_limit": 3}"#);
        assert!(
            words.contains("weight: 0")
                && words.contains("class: \"x\"")
                && words.contains("unknown field \"upload_limit\""),
            "{words}"
        );
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in ["", "{", "null", "[]", "3", "\"x\"", "{\"weight\": 1,}", "{'weight': 1}", "\u{feff}{}"] {
            refused::<NodePatch>(body);
        }
        assert!(refused::<NodePatch>(r#"{"weight": 1, "weight": 2}"#).contains("duplicate field"));
        refused::<NodePatch>(&"[".repeat(60_000));
    }

    proptest! {
        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse::<NodePatch>(&body);
            let _ = parse::<LimitsPatch>(&body);
        }
    }
}
