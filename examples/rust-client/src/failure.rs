//! A failed call: its code, the details from the core, and whether to try again.

use std::{error::Error, fmt::Write, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Tells whether the core itself refused the call for good: with details, and without RetryInfo.
pub fn is_refusal(status: &Status) -> bool {
    !status.details().is_empty() && retry_after(status).is_zero()
}

/// Tells whether the call would fail again. What the transport reports is not the core's word: a connection that
/// broke or was reset, a proxy without a backend.
pub fn is_final(status: &Status) -> bool {
    if status.details().is_empty() {
        !matches!(status.code(), Code::Unavailable | Code::Internal | Code::Unknown | Code::Cancelled)
    } else {
        is_refusal(status)
    }
}

/// Returns the delay that the core asks for; zero for none.
pub fn retry_after(status: &Status) -> Duration {
    status.get_error_details().retry_info().and_then(|info| info.retry_delay).unwrap_or_default()
}

/// Returns the name of a code as the contract spells it.
pub fn name_of(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// Returns the error as readable lines.
pub fn describe(status: &Status) -> String {
    let details: ErrorDetails = status.get_error_details();
    let mut text = format!("{}: {}", name_of(status.code()), status.message());
    // What a connection failed of lies behind "transport error".
    let mut cause = status.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    if let Some(info) = details.error_info() {
        let _ = write!(text, " [{}]", info.reason);
        let mut facts: Vec<_> = info.metadata.iter().collect();
        facts.sort();
        for (name, value) in facts {
            let _ = write!(text, "\n  {name}: {value}");
        }
    }
    for wrong in details.bad_request().map(|request| &request.field_violations[..]).unwrap_or_default() {
        let _ = write!(text, "\n  {}: {}", wrong.field, wrong.description);
    }
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
        let _ = write!(text, "\n  retry after {} ms", delay.as_millis());
    }
    text
}
