//! `GET /healthz` and `GET /readyz`.

use thingdb::Warning;

use super::call::{Answer, Call, answer};
use super::encoding::TEXT;
use super::problem::Problem;
use axum::http::StatusCode;

/// Below this the disk is nearly full.
const FREE_BYTES: u64 = 64 << 20;

/// Says that the server answers; needs nothing.
pub(crate) async fn alive(_: Call) -> Answer {
    Ok(answer(TEXT, "ok\n"))
}

/// Whether the database takes entries.
pub(crate) async fn ready(call: Call) -> Answer {
    call.run(|db| {
        let closed = |warning: &Warning| matches!(warning, Warning::Standing(_) | Warning::Damaged(_));
        if db.warnings().iter().any(closed) {
            let detail = "the database was opened for reading only";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "read-only", detail).hint("thingdb doctor"));
        }
        // Fails after a sync that failed.
        db.sync()?;
        let free = rustix::fs::statvfs(db.dir()).map(|at| at.f_bavail.saturating_mul(at.f_frsize));
        match free {
            Ok(free) if free < FREE_BYTES => {
                let detail = format!("the disk has only {free} bytes left");
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "disk-full", detail))
            }
            _ => Ok(answer(TEXT, "ready\n")),
        }
    })
    .await
}
