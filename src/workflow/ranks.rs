//! How many are in line before a place, without walking the line.

/// Counts of places, as a binary indexed tree (P. M. Fenwick, "A new data structure for cumulative frequency tables", 1994):
/// every operation is O(log n) in the number of places ever given.
#[derive(Clone, Debug, Default)]
pub struct Ranks {
    /// The cell of place `n`, counted from one, sums up as many places as its lowest set bit says, `n` being the last.
    cells: Vec<u32>,
}

impl Ranks {
    /// A further place, with nobody on it; its number, from one.
    pub fn place(&mut self) -> usize {
        let place = self.cells.len() + 1;
        let sum = self.before(place) - self.before(place - lowest_bit(place) + 1);
        self.cells.push(sum);
        place
    }

    /// Somebody takes a place.
    pub fn join(&mut self, place: usize) {
        self.change(place, |count| *count += 1);
    }

    /// Somebody leaves it.
    pub fn leave(&mut self, place: usize) {
        self.change(place, |count| *count -= 1);
    }

    /// How many are on places before this.
    pub fn before(&self, place: usize) -> u32 {
        let (mut at, mut sum) = (place - 1, 0);
        while at > 0 {
            sum += self.cells[at - 1];
            at -= lowest_bit(at);
        }
        sum
    }

    fn change(&mut self, place: usize, change: impl Fn(&mut u32)) {
        let mut at = place;
        while let Some(cell) = self.cells.get_mut(at - 1) {
            change(cell);
            at += lowest_bit(at);
        }
    }
}

fn lowest_bit(number: usize) -> usize {
    number & number.wrapping_neg()
}
