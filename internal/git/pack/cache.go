package pack

import "github.com/slipway-init/slipway/internal/git/object"

// cacheSize is how many bytes of objects a reader keeps, because others are likely made of them.
const cacheSize = 4 << 20

// cache holds the content of small entries by their offset; the one that was used longest ago goes first.
type cache struct {
	entries     map[int64]*cached
	first, last *cached // the one used last, and longest ago
	size        int64
}

type cached struct {
	offset     int64
	kind       object.Type
	data       []byte
	prev, next *cached
}

func newCache() *cache { return &cache{entries: make(map[int64]*cached)} }

// get returns the entry at offset, or nil.
func (c *cache) get(offset int64) *cached {
	e := c.entries[offset]
	if e != nil {
		c.unlink(e)
		c.push(e)
	}
	return e
}

// put keeps an entry.
func (c *cache) put(offset int64, kind object.Type, data []byte) {
	if _, ok := c.entries[offset]; ok {
		return
	}
	e := &cached{offset: offset, kind: kind, data: data}
	c.entries[offset] = e
	c.push(e)
	c.size += int64(cap(data))
	for c.size > cacheSize {
		old := c.last
		c.unlink(old)
		delete(c.entries, old.offset)
		c.size -= int64(cap(old.data))
	}
}

func (c *cache) push(e *cached) {
	e.prev, e.next = nil, c.first
	if c.first != nil {
		c.first.prev = e
	} else {
		c.last = e
	}
	c.first = e
}

func (c *cache) unlink(e *cached) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		c.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		c.last = e.prev
	}
}
