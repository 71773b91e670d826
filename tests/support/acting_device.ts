import type { Capabilities } from "../../src/device/capabilities.ts";
import type { Device } from "../../src/device/device.ts";

/** `device` with some of its properties replaced; everything else goes to the device itself. */
export function withProperties<D extends Device>(device: D, properties: Partial<Device>): D {
  return new Proxy(device, {
    get(target, property) {
      if (property in properties) return properties[property as keyof Device];
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** `device` as kernels are tuned for another one. */
export function actingAs<D extends Device>(device: D, capabilities: Partial<Capabilities>): D {
  return withProperties(device, { capabilities: { ...device.capabilities, ...capabilities } });
}
