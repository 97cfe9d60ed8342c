//! Asking a person at the terminal, who does not see what is typed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};

use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use secrecy::zeroize::Zeroizing;

/// What Ctrl-C types.
const INTERRUPT: u8 = 3;

/// More than any PIN has.
const MOST_BYTES: usize = 1024;

/// The line that is typed after `question`.
///
/// # Errors
/// Above all where the process has no terminal.
pub(super) fn ask(question: &str) -> io::Result<Zeroizing<String>> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|error| {
        io::Error::other(format!("there is no terminal to ask at ({error}); run it in one, or name another place"))
    })?;
    let silent = Silent::new(&terminal)?;
    write!(&terminal, "{question}: ")?;
    // A terminal gives out one line at a time, so this one place is all that ever holds it.
    let mut line = Zeroizing::new([0; MOST_BYTES]);
    let length = (&terminal).read(line.as_mut_slice())?;
    drop(silent);
    match &line[..length] {
        [.., INTERRUPT] => Err(io::Error::other("it was interrupted")),
        [text @ .., b'\n'] => match std::str::from_utf8(text) {
            Ok(text) => Ok(Zeroizing::new(text.to_owned())),
            // What was typed is not repeated.
            Err(_) => Err(io::Error::other("what was typed is not UTF-8")),
        },
        _ => Err(io::Error::other("the line did not end")),
    }
}

/// A terminal that shows nothing, until this is dropped.
struct Silent<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Silent<'a> {
    fn new(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        // Ctrl-C ends the line and not the process, which would leave the terminal silent.
        silent.local_flags.remove(LocalFlags::ECHO | LocalFlags::ISIG);
        silent.control_chars[SpecialCharacterIndices::VEOL as usize] = INTERRUPT;
        // What was typed before the question was shown is thrown away.
        tcsetattr(terminal, SetArg::TCSAFLUSH, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, SetArg::TCSADRAIN, &self.before);
        let mut terminal = self.terminal;
        let _ = terminal.write_all(b"\n");
    }
}
