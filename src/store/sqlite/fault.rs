//! What is said of a fault of SQLite's.

use rusqlite::ErrorCode;

/// What SQLite says, and what to do where its disk is at fault.
pub(super) fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    match causes.find_map(|cause| cause.downcast_ref::<rusqlite::Error>()?.sqlite_error_code()) {
        Some(ErrorCode::DiskFull) => format!("{error}; make room on its disk"),
        // Also of a disk that is read-only, and where there is no room for the file that connections share.
        Some(ErrorCode::SystemIoFailure) => {
            format!("{error}; see whether its disk is full, read-only or broken")
        }
        _ => error.to_string(),
    }
}
